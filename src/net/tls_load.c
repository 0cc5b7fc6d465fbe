/* SPDX-License-Identifier: MIT */
/* Certificates and keys: which file, what is wrong with it, what to do. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls.h"
#include "tandem/error.h"
#include "tandem/log.h"

#define FILE_BYTES_MAX (4 << 20)  /* the system's roots are a quarter of a megabyte */

/* A PEM: how it is called in sentences, and its text. */
struct pem {
    const char *name;
    BIO *text;
    char *bytes;  /* of a file */
};

static int complain(const char *name, const char *what, const char *advice)
{
    td_log(TD_LOG_ERROR, "cannot use %s for TLS: %s\n        %s", name, what, advice);
    ERR_clear_error();
    return -EINVAL;
}

static int read_all(int fd, char *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = read(fd, bytes + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int)done;
}

/* Files are small and few, and read when a server starts or is told to: that may take its moment. */
static int read_file(const char *path, char **bytes)
{
    struct stat status;
    int fd, rc;

    *bytes = NULL;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0)
        rc = -errno;
    else if (!S_ISREG(status.st_mode))
        rc = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    else if (status.st_size > FILE_BYTES_MAX)
        rc = -EFBIG;
    else if (!(*bytes = malloc((size_t)status.st_size + 1)))
        rc = -ENOMEM;
    else
        rc = read_all(fd, *bytes, (size_t)status.st_size);
    close(fd);
    if (rc < 0) {
        free(*bytes);
        *bytes = NULL;
    }
    return rc;
}

static void close_pem(struct pem *pem)
{
    BIO_free(pem->text);
    if (pem->bytes)
        OPENSSL_cleanse(pem->bytes, strlen(pem->bytes));
    free(pem->bytes);
}

/* `what` names a text that is no file's. */
static int open_pem(struct pem *pem, const char *given, const char *what)
{
    int rc;

    *pem = (struct pem){.name = what};
    if (strncmp(given, "-----BEGIN ", 11) == 0) {
        pem->text = BIO_new_mem_buf(given, -1);
        return pem->text ? 0 : -ENOMEM;
    }
    pem->name = given;
    rc = read_file(given, &pem->bytes);
    if (rc < 0) {
        td_log(TD_LOG_ERROR, "cannot read %s for TLS: %s\n        %s", given, td_strerror(rc),
               rc == -EACCES ? "let the server's user read it" : "give the path of a file in PEM format");
        return rc;
    }
    pem->bytes[rc] = '\0';
    pem->text = BIO_new_mem_buf(pem->bytes, rc);
    if (!pem->text)
        close_pem(pem);
    return pem->text ? 0 : -ENOMEM;
}

/* No password is asked for: a server starts by itself. `seen` takes note that one was needed. */
static int no_password(char *buffer, int size, int writing, void *seen)
{
    *(bool *)seen = true;
    return -1;
}

static bool end_of_pem(void)
{
    unsigned long error = ERR_peek_last_error();
    bool end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;

    if (end)
        ERR_clear_error();
    return end;
}

static void warn_of_dates(const char *name, const X509 *certificate)
{
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        td_log(TD_LOG_WARNING, "the certificate in %s has expired: peers will refuse it\n        renew it", name);
    else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        td_log(TD_LOG_WARNING, "the certificate in %s is not valid yet: peers will refuse it\n        look at the clock", name);
}

static int load_chain(SSL_CTX *context, struct pem *pem)
{
    bool seen = false;
    X509 *certificate = PEM_read_bio_X509_AUX(pem->text, NULL, no_password, &seen);

    if (!certificate)
        return complain(pem->name, end_of_pem() ? "it has no certificate" : tls_reason(),
                        "give a file in PEM format that begins with the server's own certificate");
    if (SSL_CTX_use_certificate(context, certificate) != 1) {
        X509_free(certificate);
        return complain(pem->name, tls_reason(), "have a certificate made with a stronger key: P-256, or RSA of 2048 bits");
    }
    warn_of_dates(pem->name, certificate);
    X509_free(certificate);
    while ((certificate = PEM_read_bio_X509(pem->text, NULL, no_password, &seen))) {
        if (SSL_CTX_add0_chain_cert(context, certificate) != 1) {
            X509_free(certificate);
            return complain(pem->name, tls_reason(), "look at the certificates behind the first one");
        }
    }
    if (!end_of_pem())
        return complain(pem->name, tls_reason(), "one of the certificates behind the first is damaged");
    return 0;
}

static int load_key(SSL_CTX *context, struct pem *pem, const char *chain)
{
    bool has_password = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem->text, NULL, no_password, &has_password);
    int used;

    if (!key && has_password)
        return complain(pem->name, "the key is encrypted with a password",
                        "write it without (openssl pkey -in FILE -out FILE) and protect the file by its permissions");
    if (!key)
        return complain(pem->name, "it has no private key", "give a file in PEM format that has -----BEGIN PRIVATE KEY-----");
    used = SSL_CTX_use_PrivateKey(context, key);
    EVP_PKEY_free(key);
    if (used == 1 && SSL_CTX_check_private_key(context) == 1)
        return 0;
    ERR_clear_error();
    td_log(TD_LOG_ERROR, "cannot use %s for TLS: it is not the key of the certificate in %s\n"
           "        give the two that belong together", pem->name, chain);
    return -EINVAL;
}

int tls_load_certificate(SSL_CTX *context, const td_tls_certificate *certificate)
{
    struct pem chain, key;
    int rc;

    if (!certificate->chain || !certificate->key) {
        td_log(TD_LOG_ERROR, "a certificate for TLS needs a chain and a key\n        give both");
        return -EINVAL;
    }
    rc = open_pem(&chain, certificate->chain, "the given certificate");
    if (rc < 0)
        return rc;
    rc = load_chain(context, &chain);
    if (rc == 0)
        rc = open_pem(&key, certificate->key, "the given key");
    if (rc == 0) {
        rc = load_key(context, &key, chain.name);
        close_pem(&key);
    }
    close_pem(&chain);
    return rc;
}

/* Trusts it, and where `names` is given adds its name to what is asked for. */
static int trust(X509_STORE *store, X509 *certificate, STACK_OF(X509_NAME) *names)
{
    X509_NAME *name = names ? X509_NAME_dup(X509_get_subject_name(certificate)) : NULL;

    if (names && (!name || sk_X509_NAME_push(names, name) == 0)) {
        X509_NAME_free(name);
        return -ENOMEM;
    }
    return X509_STORE_add_cert(store, certificate) == 1 ? 0 : -ENOMEM;
}

int tls_load_trust(SSL_CTX *context, const char *ca, bool ask)
{
    STACK_OF(X509_NAME) *names = ask ? sk_X509_NAME_new_null() : NULL;
    struct pem pem;
    X509 *certificate;
    bool seen = false;
    int rc = ask && !names ? -ENOMEM : open_pem(&pem, ca, "the given certificates"), count = 0;

    if (rc < 0) {
        sk_X509_NAME_free(names);
        return rc;
    }
    while (rc == 0 && (certificate = PEM_read_bio_X509_AUX(pem.text, NULL, no_password, &seen))) {
        rc = trust(SSL_CTX_get_cert_store(context), certificate, names);
        X509_free(certificate);
        count++;
    }
    if (rc == 0 && (!end_of_pem() || count == 0))
        rc = complain(pem.name, count ? tls_reason() : "it has no certificate",
                      "give a file in PEM format with the certificates of those who are trusted to vouch for others");
    if (rc == 0 && names)
        SSL_CTX_set_client_CA_list(context, names);
    else
        sk_X509_NAME_pop_free(names, X509_NAME_free);
    close_pem(&pem);
    ERR_clear_error();
    return rc;
}
