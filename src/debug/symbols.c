/* SPDX-License-Identifier: MIT */
#include "debug/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void symbols_open(struct symbols *symbols)
{
    memset(symbols, 0, sizeof *symbols);
    /* Not from malloc: the loop that is looked at may be stuck with its lock. */
    symbols->cache = mmap(NULL, SYMBOL_CACHE * sizeof *symbols->cache, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                          0);
    if (symbols->cache == MAP_FAILED)
        symbols->cache = NULL;  /* slower, and as right */
}

static void unmap(struct module *module)
{
    if (module->map)
        munmap((void *)(uintptr_t)module->map, module->size);
    *module = (struct module){0};
}

void symbols_close(struct symbols *symbols)
{
    for (int i = 0; i < SYMBOL_MODULES; i++)
        unmap(&symbols->modules[i]);
    if (symbols->cache)
        munmap(symbols->cache, SYMBOL_CACHE * sizeof *symbols->cache);
    symbols->cache = NULL;
}

static void map_file(struct module *module, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    void *map;

    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (size_t)status.st_size > sizeof(ElfW(Ehdr))) {
        map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) {
            module->map = map;
            module->size = (size_t)status.st_size;
        }
    }
    close(fd);
}

static const struct module *module_of(struct symbols *symbols, const struct link_map *object)
{
    struct module *module;

    for (int i = 0; i < SYMBOL_MODULES; i++)
        if (symbols->modules[i].base == object->l_addr && symbols->modules[i].map)
            return &symbols->modules[i];
    module = &symbols->modules[symbols->next++ % SYMBOL_MODULES];
    unmap(module);
    module->base = object->l_addr;
    map_file(module, *object->l_name ? object->l_name : "/proc/self/exe");
    return module;
}

/* Whether the file has these bytes: it may be of another version than what runs, or damaged. */
static bool has(const struct module *module, size_t offset, size_t count, size_t size)
{
    return offset <= module->size && count <= (module->size - offset) / size;
}

/* The function of one symbol table that covers the offset. */
static const char *search(const struct module *module, const ElfW(Shdr) *table, const ElfW(Shdr) *strings, uintptr_t offset,
                          uintptr_t *start)
{
    size_t count = table->sh_size / sizeof(ElfW(Sym));
    const ElfW(Sym) *all = (const void *)(module->map + table->sh_offset);

    if (!has(module, table->sh_offset, count, sizeof *all) || !has(module, strings->sh_offset, strings->sh_size, 1) ||
        strings->sh_size == 0 || module->map[strings->sh_offset + strings->sh_size - 1] != '\0')
        return NULL;
    for (size_t i = 0; i < count; i++) {
        bool is_code = ELF64_ST_TYPE(all[i].st_info) == STT_FUNC || ELF64_ST_TYPE(all[i].st_info) == STT_GNU_IFUNC;

        if (is_code && all[i].st_shndx != SHN_UNDEF && all[i].st_name < strings->sh_size && offset >= all[i].st_value &&
            offset - all[i].st_value < (all[i].st_size ? all[i].st_size : 1)) {
            *start = all[i].st_value;
            return module->map + strings->sh_offset + all[i].st_name;
        }
    }
    return NULL;
}

/* The full table first: it has the static functions, too. A stripped file keeps only what others link to. */
static const char *find(const struct module *module, uintptr_t offset, uintptr_t *start)
{
    const ElfW(Ehdr) *header = (const void *)module->map;
    const ElfW(Shdr) *sections;
    const char *name = NULL;

    if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_shentsize != sizeof *sections ||
        header->e_shoff % sizeof(uintptr_t) != 0 || !has(module, header->e_shoff, header->e_shnum, sizeof *sections))
        return NULL;
    sections = (const void *)(module->map + header->e_shoff);
    for (int pass = 0; pass < 2 && !name; pass++)
        for (size_t i = 0; i < header->e_shnum && !name; i++)
            if (sections[i].sh_type == (pass == 0 ? SHT_SYMTAB : SHT_DYNSYM) && sections[i].sh_link < header->e_shnum &&
                sections[i].sh_offset % sizeof(uintptr_t) == 0)
                name = search(module, &sections[i], &sections[sections[i].sh_link], offset, start);
    return name;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void format(struct symbols *symbols, uintptr_t address, char *text, size_t size)
{
    struct dl_find_object object;
    uintptr_t offset, start = 0;
    const char *name, *file;

    if (_dl_find_object((void *)address, &object) != 0) {
        snprintf(text, size, "%#zx", (size_t)address);
        return;
    }
    offset = address - object.dlfo_link_map->l_addr;
    name = find(module_of(symbols, object.dlfo_link_map), offset, &start);
    file = *object.dlfo_link_map->l_name ? last_part(object.dlfo_link_map->l_name) : program_invocation_short_name;
    if (name)
        snprintf(text, size, "%.80s+%#zx (%.50s+%#zx)", name, (size_t)(offset - start), file, (size_t)offset);
    else
        snprintf(text, size, "(%.50s+%#zx)", file, (size_t)offset);
}

const char *symbols_name(struct symbols *symbols, uintptr_t address)
{
    static _Thread_local char scratch[SYMBOL_TEXT_MAX];
    struct symbol *entry;

    if (!symbols->cache) {
        format(symbols, address, scratch, sizeof scratch);
        return scratch;
    }
    entry = &symbols->cache[(address ^ address >> 9) % SYMBOL_CACHE];
    if (entry->address != address || address == 0) {
        entry->address = address;
        format(symbols, address, entry->text, sizeof entry->text);
    }
    return entry->text;
}

void symbols_function(struct symbols *symbols, uintptr_t address, char *name, size_t size)
{
    const char *text = symbols_name(symbols, address);
    size_t length = strcspn(text, "+ ");

    snprintf(name, size, "%.*s", (int)length, *text == '(' ? text + 1 : text);
}
