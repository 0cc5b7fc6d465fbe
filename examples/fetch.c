/* SPDX-License-Identifier: MIT */
/*
 * Fetches several URLs at once, and gives them two seconds for all: what has not come by then is not waited for, wherever it got
 * stuck. Each page is a task; their connections wait on one thread.
 *
 *     cc fetch.c $(pkg-config --cflags --libs tandem) && ./a.out https://example.org/ https://example.com/
 */
#include <stdio.h>
#include <stdlib.h>
#include <tandem.h>

struct page {
    const char *url;
    int rc, status;
    size_t size;
    td_time took;
    char reason[TD_HTTP_FETCH_REASON_SIZE];
};

struct pages {
    struct page *page;
    int count;
};

static int fetch(void *arg)
{
    struct page *page = arg;
    td_http_fetch_opts opts = {.redirects_max = 5, .reason = page->reason, .reason_size = sizeof page->reason};
    td_time began = td_now();
    td_http_response *response;

    page->rc = td_http_fetch(&response, page->url, &opts);
    page->took = td_now() - began;
    if (page->rc == 0) {
        page->status = td_http_response_status(response);
        td_http_response_body(response, &page->size);
        td_http_response_free(response);
    }
    return page->rc;
}

static int fetch_all(void *arg)
{
    struct pages *pages = arg;
    td_time began = td_now();
    td_scope scope;
    int rc = 0;

    td_scope_open(&scope);
    td_scope_collect(&scope);  /* one page's failure is not the others' */
    td_scope_deadline(&scope, td_after(td_sec(2)));
    for (int i = 0; i < pages->count && rc == 0; i++)
        rc = td_spawn(&scope, fetch, &pages->page[i]);
    rc = td_scope_join(&scope);

    for (int i = 0; i < pages->count; i++) {
        const struct page *page = &pages->page[i];

        if (page->rc == 0)
            printf("%s: %d, %zu bytes, %lld ms\n", page->url, page->status, page->size, (long long)(page->took / 1000000));
        else
            printf("%s: %s (%s)\n", page->url, td_strerror(page->rc), page->reason);
    }
    printf("all in %lld ms\n", (long long)((td_now() - began) / 1000000));
    return rc;
}

int main(int argc, char **argv)
{
    struct page *page = calloc((size_t)argc, sizeof *page);
    int rc;

    if (!page)
        return 1;
    for (int i = 1; i < argc; i++)
        page[i - 1].url = argv[i];
    rc = td_run(fetch_all, &(struct pages){page, argc - 1});
    free(page);
    return rc < 0;
}
