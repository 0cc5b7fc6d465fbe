/* SPDX-License-Identifier: MIT */
/*
 * What the library calls outside itself, and how that can fail. Included several times, with other meanings of
 *
 *   CALL(type, name, (parameters), (arguments), failed, errors...)   sets errno and returns `failed`
 *   OWN(name, errors...)   the same, but replaced by hand in inject.c, which see
 *   RING(name, errors...)  an operation that the kernel carries out for io_uring, by the name of its opcode
 *   SAFE(name)             cannot fail as it is used, or is called where nobody could do anything about it
 *
 * The errors are those that a correct program meets on a machine that is short of something, interrupted, old, or
 * locked down. EAGAIN from a descriptor that is ready and the like are not among them: no kernel does that.
 * tests/faults/calls.py compares this list with what the library really calls.
 */

/* Memory. */
OWN(malloc, ENOMEM)
OWN(calloc, ENOMEM)
OWN(realloc, ENOMEM)
OWN(aligned_alloc, ENOMEM)
OWN(strdup, ENOMEM)
OWN(strndup, ENOMEM)
OWN(mmap64, ENOMEM, EAGAIN)
OWN(madvise, ENOMEM, EINVAL)
CALL(int, mprotect, (void *at, size_t size, int access), (at, size, access), -1, ENOMEM)
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE, ENOMEM, ENOSYS)
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), -1, EINTR, EFBIG)
CALL(int, fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size), -1, ENOSPC, EINTR, EOPNOTSUPP)

/* Descriptors and files. */
CALL(int, epoll_create1, (int flags), (flags), -1, EMFILE, ENOMEM)
OWN(epoll_ctl, ENOMEM, ENOSPC)
CALL(int, epoll_pwait2, (int fd, struct epoll_event *events, int room, const struct timespec *wait, const sigset_t *mask),
     (fd, events, room, wait, mask), -1, EINTR, ENOSYS, EPERM)
CALL(int, epoll_wait, (int fd, struct epoll_event *events, int room, int wait), (fd, events, room, wait), -1, EINTR)
CALL(int, eventfd, (unsigned first, int flags), (first, flags), -1, EMFILE, ENOMEM)
OWN(fcntl64, EMFILE, EPERM)
OWN(fopen64, EMFILE, ENOENT, ENOMEM)
CALL(char *, fgets, (char *line, int size, FILE *file), (line, size, file), NULL, EIO, ENOMEM)
CALL(int, open64, (const char *path, int flags, mode_t mode), (path, flags, mode), -1, EMFILE, ENOENT, EINTR, EACCES)
CALL(int, dup2, (int from, int to), (from, to), -1, EBUSY)
CALL(int, pipe2, (int pair[2], int flags), (pair, flags), -1, EMFILE, ENFILE)
CALL(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), -1, EIO, EINTR)
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), -1, ENOSPC, EINTR)
CALL(ssize_t, preadv64v2, (int fd, const struct iovec *iov, int count, off64_t at, int flags), (fd, iov, count, at, flags), -1,
     EAGAIN, EOPNOTSUPP, EIO)
CALL(ssize_t, getdents64, (int fd, void *data, size_t size), (fd, data, size), -1, EIO, ENOENT)
CALL(off64_t, lseek64, (int fd, off64_t at, int from), (fd, at, from), -1, ESPIPE)
CALL(int, fsync, (int fd), (fd), -1, EIO, ENOSPC)
CALL(int, fdatasync, (int fd), (fd), -1, EIO, ENOSPC)
CALL(int, statx, (int folder, const char *path, int flags, unsigned wanted, struct statx *status),
     (folder, path, flags, wanted, status), -1, ENOENT, ENOMEM)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC, EEXIST)
CALL(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags), -1, ENOSPC)
CALL(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), -1, EACCES, EBUSY)
CALL(ssize_t, getrandom, (void *data, size_t size, unsigned flags), (data, size, flags), -1, EINTR, ENOSYS)
CALL(int, fstat64, (int fd, struct stat64 *status), (fd, status), -1, ENOMEM)
OWN(read, EINTR, EIO)
OWN(write, EINTR, EPIPE, EIO)
CALL(int, poll, (struct pollfd *fds, nfds_t count, int wait), (fds, count, wait), -1, EINTR, ENOMEM)
CALL(int, close_range, (unsigned first, unsigned last, int flags), (first, last, flags), -1, ENOSYS, EPERM)

/* Sockets. */
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE, ENOBUFS, EAFNOSUPPORT)
CALL(int, socketpair, (int domain, int type, int protocol, int pair[2]), (domain, type, protocol, pair), -1, EMFILE, ENOBUFS)
CALL(int, bind, (int fd, const struct sockaddr *at, socklen_t size), (fd, at, size), -1, EADDRINUSE, EACCES)
CALL(int, listen, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE)
CALL(int, accept4, (int fd, struct sockaddr *at, socklen_t *size, int flags), (fd, at, size, flags), -1, EMFILE, ENOBUFS,
     ECONNABORTED, EINTR)
CALL(int, connect, (int fd, const struct sockaddr *at, socklen_t size), (fd, at, size), -1, ECONNREFUSED, EADDRNOTAVAIL,
     ENETUNREACH)
CALL(int, getsockname, (int fd, struct sockaddr *at, socklen_t *size), (fd, at, size), -1, ENOBUFS)
CALL(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t size), (fd, level, name, value, size), -1,
     ENOMEM, ENOPROTOOPT)
CALL(int, shutdown, (int fd, int how), (fd, how), -1, ENOTCONN)
CALL(ssize_t, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags), -1, ECONNRESET, ENOMEM, EINTR)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1, ENOMEM, EINTR)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1, ECONNRESET, ENOBUFS,
     ETOOMANYREFS, EINTR)

/* OpenSSL: it allocates by itself, so a failure inside of it looks like one of these. */
CALL(BIO_METHOD *, BIO_meth_new, (int type, const char *name), (type, name), NULL, ENOMEM)
CALL(BIO *, BIO_new, (const BIO_METHOD *method), (method), NULL, ENOMEM)
CALL(BIO *, BIO_new_mem_buf, (const void *bytes, int size), (bytes, size), NULL, ENOMEM)
CALL(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method), (method), NULL, ENOMEM)
CALL(SSL *, SSL_new, (SSL_CTX *context), (context), NULL, ENOMEM)
CALL(EVP_KDF *, EVP_KDF_fetch, (OSSL_LIB_CTX *library, const char *name, const char *properties), (library, name, properties),
     NULL, ENOMEM)
CALL(int, RAND_bytes, (unsigned char *bytes, int size), (bytes, size), 0, EIO)

/* Processes, threads, signals. */
CALL(pid_t, fork, (void), (), -1, EAGAIN, ENOMEM)
OWN(clone, EAGAIN, ENOMEM)
OWN(seccomp, EINVAL, ENOSYS)
CALL(int, execvp, (const char *file, char *const arguments[]), (file, arguments), -1, ENOENT, EACCES, ENOMEM)
CALL(int, prlimit64, (pid_t pid, __rlimit_resource_t which, const struct rlimit64 *to, struct rlimit64 *from),
     (pid, which, to, from), -1, EPERM, ENOSYS)
OWN(futex, EINTR, EAGAIN)
OWN(pidfd_send_signal, ENOSYS, EPERM)
OWN(pthread_create, EAGAIN)
OWN(waitid, EINTR, ECHILD)
CALL(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), -1, EINTR)
OWN(sigaltstack, ENOMEM)
OWN(posix_spawnp, EAGAIN, ENOMEM, ENOENT)
OWN(posix_spawn_file_actions_addopen, ENOMEM)
OWN(posix_spawn_file_actions_adddup2, ENOMEM)
OWN(posix_spawn_file_actions_addchdir_np, ENOMEM)
OWN(posix_spawn_file_actions_addclosefrom_np, ENOMEM)
CALL(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags), -1, EMFILE, ENOMEM, ENOSYS)
CALL(ssize_t, process_vm_readv, (pid_t pid, const struct iovec *to, unsigned long to_count, const struct iovec *from,
     unsigned long from_count, unsigned long flags), (pid, to, to_count, from, from_count, flags), -1, EPERM, ENOSYS)
CALL(int, sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *set), (pid, size, set), -1, EINVAL)
CALL(int, setpriority, (int which, id_t who, int value), (which, who, value), -1, EACCES)
OWN(EVP_Digest, ENOMEM)
OWN(getaddrinfo, EMFILE, ENOMEM)
SAFE(freeaddrinfo)

/* io_uring: by the functions of liburing, and by what the kernel does for us. */
OWN(io_uring_queue_init_params, ENOMEM, EMFILE, EPERM, ENOSYS, EINVAL)
OWN(io_uring_get_probe_ring, ENOMEM)
OWN(io_uring_ring_dontfork, ENOMEM)
OWN(io_uring_submit, EINTR, EAGAIN, EBUSY)
OWN(io_uring_submit_and_get_events, EINTR, EAGAIN, EBUSY)
OWN(io_uring_submit_and_wait_timeout, EINTR, EAGAIN, EBUSY)
RING(ACCEPT, EMFILE, ENOBUFS, ECONNABORTED, EINTR)
RING(CONNECT, ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH)
RING(RECV, ECONNRESET, ENOMEM, EINTR)
RING(SENDMSG, ECONNRESET, ENOBUFS, EINTR)
RING(READ, EINTR, ENOMEM)
RING(POLL_ADD, ENOMEM)
RING(OPENAT, EMFILE, ENOENT, EINTR)
RING(WRITE, ENOSPC, EIO, EINTR)
RING(STATX, ENOMEM)
RING(FSYNC, EIO, EINTR)
RING(RENAMEAT, ENOSPC)
RING(UNLINKAT, EACCES)
RING(MKDIRAT, ENOSPC)

/* What gives back what the others took: these never fail, and are counted. */
OWN(free)
OWN(munmap)
OWN(fclose)
OWN(pthread_join)
OWN(syscall)
OWN(io_uring_queue_exit)

SAFE(__assert_fail) SAFE(__errno_location) SAFE(__isoc99_fscanf) SAFE(__sched_cpucount) SAFE(_exit) SAFE(abort) SAFE(raise)
SAFE(clock_gettime) SAFE(time) SAFE(gmtime_r) SAFE(sysconf) SAFE(getrlimit64) SAFE(gettid) SAFE(getpid) SAFE(getppid)
SAFE(prctl) SAFE(close) SAFE(__cpu_model)
SAFE(memchr) SAFE(memcpy) SAFE(memmove) SAFE(memset) SAFE(strcmp) SAFE(strcspn) SAFE(strlen) SAFE(strncmp) SAFE(strnlen)
SAFE(strrchr) SAFE(strspn) SAFE(strstr) SAFE(snprintf) SAFE(vsnprintf) SAFE(fprintf) SAFE(stderr) SAFE(sigdescr_np)
SAFE(strerrordesc_np)
SAFE(inet_ntop) SAFE(inet_pton) SAFE(EVP_EncodeBlock) SAFE(EVP_sha1)
SAFE(deflate) SAFE(deflateEnd) SAFE(deflateInit2_) SAFE(deflateReset)  /* zlib, with our malloc */
SAFE(inflate) SAFE(inflateEnd) SAFE(inflateInit2_) SAFE(inflateReset) SAFE(inflateResetKeep)
SAFE(kill) SAFE(sigaction) SAFE(signal) SAFE(sigemptyset) SAFE(sigfillset) SAFE(sigprocmask)
SAFE(io_uring_free_probe) SAFE(io_uring_peek_batch_cqe)
SAFE(pthread_cond_destroy) SAFE(pthread_cond_init) SAFE(pthread_cond_signal) SAFE(pthread_cond_timedwait)
SAFE(pthread_condattr_destroy) SAFE(pthread_condattr_init) SAFE(pthread_condattr_setclock) SAFE(pthread_getcpuclockid)
SAFE(pthread_mutex_destroy) SAFE(pthread_mutex_init) SAFE(pthread_mutex_lock) SAFE(pthread_mutex_unlock) SAFE(pthread_self)
SAFE(pthread_sigmask) SAFE(clock_getcpuclockid) SAFE(strstr) SAFE(strtoll)
SAFE(pthread_atfork) SAFE(pthread_cond_broadcast) SAFE(pthread_cond_wait) SAFE(pthread_setname_np) SAFE(sched_yield)
SAFE(posix_spawn_file_actions_destroy) SAFE(posix_spawn_file_actions_init) SAFE(posix_spawnattr_destroy)
SAFE(posix_spawnattr_init) SAFE(posix_spawnattr_setflags) SAFE(posix_spawnattr_setpgroup) SAFE(posix_spawnattr_setsigdefault)
SAFE(posix_spawnattr_setsigmask) SAFE(sigaddset) SAFE(sigdelset) SAFE(sigismember) SAFE(sigtimedwait) SAFE(environ)
SAFE(ioctl) SAFE(tcgetattr) SAFE(memcmp) SAFE(strtoul) SAFE(mincore)
SAFE(__libc_current_sigrtmax) SAFE(__libc_current_sigrtmin) SAFE(_dl_find_object) SAFE(program_invocation_short_name)
SAFE(pthread_attr_destroy) SAFE(pthread_attr_getstack) SAFE(pthread_getattr_np) SAFE(pthread_kill) SAFE(sem_clockwait)
SAFE(sem_destroy) SAFE(sem_init) SAFE(sem_post) SAFE(sem_wait) SAFE(strtol) SAFE(strtoull)
SAFE(BIO_clear_flags) SAFE(BIO_free) SAFE(BIO_get_data) SAFE(BIO_meth_free) SAFE(BIO_meth_set_ctrl)
SAFE(BIO_meth_set_read) SAFE(BIO_meth_set_write) SAFE(BIO_read) SAFE(BIO_s_mem) SAFE(BIO_set_data) SAFE(BIO_set_flags)
SAFE(BIO_set_init) SAFE(ERR_clear_error) SAFE(ERR_peek_error) SAFE(ERR_peek_last_error) SAFE(ERR_reason_error_string)
SAFE(EVP_CIPHER_get_iv_length) SAFE(EVP_DecryptInit_ex) SAFE(EVP_EncryptInit_ex) SAFE(EVP_KDF_CTX_free)
SAFE(EVP_KDF_CTX_new) SAFE(EVP_KDF_derive) SAFE(EVP_KDF_free) SAFE(EVP_MAC_CTX_set_params) SAFE(EVP_PKEY_free)
SAFE(EVP_aes_256_cbc) SAFE(EVP_sha256) SAFE(OPENSSL_cleanse) SAFE(OPENSSL_sk_free) SAFE(OPENSSL_sk_new_null)
SAFE(OPENSSL_sk_num) SAFE(OPENSSL_sk_pop_free) SAFE(OPENSSL_sk_push) SAFE(OPENSSL_sk_value)
SAFE(OSSL_PARAM_construct_end) SAFE(OSSL_PARAM_construct_octet_string) SAFE(OSSL_PARAM_construct_utf8_string)
SAFE(PEM_read_bio_PrivateKey) SAFE(PEM_read_bio_X509) SAFE(PEM_read_bio_X509_AUX) SAFE(SSL_CIPHER_get_name)
SAFE(SSL_CTX_callback_ctrl) SAFE(SSL_CTX_check_private_key) SAFE(SSL_CTX_ctrl) SAFE(SSL_CTX_free)
SAFE(SSL_CTX_get0_certificate) SAFE(SSL_CTX_get_cert_store) SAFE(SSL_CTX_get_client_CA_list)
SAFE(SSL_CTX_sess_set_new_cb) SAFE(SSL_CTX_set_alpn_protos) SAFE(SSL_CTX_set_alpn_select_cb)
SAFE(SSL_CTX_set_cipher_list) SAFE(SSL_CTX_set_client_CA_list) SAFE(SSL_CTX_set_client_hello_cb)
SAFE(SSL_CTX_set_default_verify_paths) SAFE(SSL_CTX_set_msg_callback) SAFE(SSL_CTX_set_num_tickets)
SAFE(SSL_CTX_set_options) SAFE(SSL_CTX_set_session_id_context) SAFE(SSL_CTX_set_timeout)
SAFE(SSL_CTX_set_tlsext_ticket_key_evp_cb) SAFE(SSL_CTX_set_verify) SAFE(SSL_CTX_use_PrivateKey)
SAFE(SSL_CTX_use_certificate) SAFE(SSL_SESSION_free) SAFE(SSL_SESSION_is_resumable) SAFE(SSL_alert_desc_string_long)
SAFE(SSL_ctrl) SAFE(SSL_do_handshake) SAFE(SSL_free) SAFE(SSL_get0_alpn_selected) SAFE(SSL_get0_param)
SAFE(SSL_get0_peer_certificate) SAFE(SSL_get_current_cipher) SAFE(SSL_get_error) SAFE(SSL_get_ex_data)
SAFE(SSL_get_servername) SAFE(SSL_get_verify_result) SAFE(SSL_pending) SAFE(SSL_read) SAFE(SSL_select_next_proto)
SAFE(SSL_session_reused) SAFE(SSL_set1_host) SAFE(SSL_set_SSL_CTX) SAFE(SSL_set_accept_state) SAFE(SSL_set_bio)
SAFE(SSL_set_connect_state) SAFE(SSL_set_ex_data) SAFE(SSL_set_hostflags) SAFE(SSL_set_session) SAFE(SSL_set_shutdown)
SAFE(SSL_shutdown) SAFE(SSL_version) SAFE(SSL_write) SAFE(TLS_client_method) SAFE(TLS_server_method)
SAFE(X509_NAME_digest) SAFE(X509_NAME_dup) SAFE(X509_NAME_free) SAFE(X509_NAME_oneline) SAFE(X509_NAME_print_ex)
SAFE(X509_STORE_add_cert) SAFE(X509_VERIFY_PARAM_set1_ip_asc) SAFE(X509_check_host) SAFE(X509_cmp_current_time)
SAFE(X509_free) SAFE(X509_get0_notAfter) SAFE(X509_get0_notBefore) SAFE(X509_get_subject_name)
SAFE(X509_verify_cert_error_string)
