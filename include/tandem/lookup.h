/* SPDX-License-Identifier: MIT */
/*
 * From names to addresses.
 *
 *     td_address at[4];
 *     int count = td_lookup("example.org:https", at, 4), rc = count;
 *
 *     for (int i = 0; i < count && (rc = td_connect(&stream, at[i].text)) < 0 && rc != -ECANCELED; i++)
 *         ;
 *
 * (td_connect_to of tandem/net.h does that, and better.) Lookups are made by the loop itself, with c-ares: /etc/hosts and
 * /etc/resolv.conf are honoured, as they are at that moment. What else nsswitch.conf may name (mDNS, LDAP, systemd's own names)
 * is not asked, unless td_lookup_opts.system says so.
 */
#ifndef TANDEM_LOOKUP_H
#define TANDEM_LOOKUP_H

#include "tandem/net.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TD_LOOKUP_MAX 16  /* addresses of a name at the most; what a name has beyond them is not told */

typedef struct td_address {
    char text[TD_ADDRESS_MAX];  /* "192.0.2.7:443", "[2001:db8::7]:443": for td_connect */
} td_address;

struct td_lookup_opts {
    const char *servers;  /* name servers, "192.0.2.53,[2001:db8::53]:5353", in place of resolv.conf's */
    td_time timeout;      /* for an answer to the first try; later tries are given twice as much each; 0: resolv.conf's, or 5 s */
    int tries;            /* of each server; 0: resolv.conf's, or 4 */
    int family;           /* AF_INET or AF_INET6: no others; 0: both */
    int system;           /* the C library's getaddrinfo, with all that nsswitch.conf has, on a thread (TD_CLASS_NAMES) */
};

/*
 * Looks up a place, "name:service", and stores the first `max` of its addresses, the one to try first in front (RFC 6724). A
 * service is a port number or a name in /etc/services. What is an address already is answered at once. In a simulation
 * the one name is "localhost".
 *
 * Checkpoint: yes. A caller that is cancelled, by its deadline too, goes at once. (With opts->system its resolver goes on in a
 * thread that is left behind; only when eight are does it wait for its own.)
 * Returns how many addresses there are, at least 1; -EINVAL for text that is no place, an unknown service, a max of 0, servers
 * that are none; -ENOENT: there is no such name, or it has no address; -EHOSTUNREACH: no name server answers, or none can, or in
 * no form that can be understood; -ETIMEDOUT after 30 seconds; -EAGAIN: no thread could be started; -ENOMEM; -ECANCELED; -EDEADLK
 * inside a job; and what else the system says.
 */
int td_lookup(const char *place, td_address *found, size_t max);

/* The same with options; NULL: none. Checkpoint: yes. Returns as td_lookup. */
int td_lookup_with(const td_lookup_opts *opts, const char *place, td_address *found, size_t max);

#ifdef __cplusplus
}
#endif
#endif
