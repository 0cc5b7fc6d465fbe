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
 * Lookups are the system's own (getaddrinfo: /etc/hosts, then name servers), each on a thread of the names class
 * (tandem/classes.h), where nothing that computes is before them.
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

/*
 * Looks up a place, "name:service", and stores the first `max` of its addresses, the one to try first in front (RFC 6724). A
 * service is a port number or a name in /etc/services. What is an address already is answered at once. In a simulation
 * the one name is "localhost".
 *
 * Checkpoint: yes. A caller that is cancelled, by its deadline too, goes at once, though its resolver goes on; only when eight
 * are left behind like that does it wait for its own.
 * Returns how many addresses there are, at least 1; -EINVAL for text that is no place, an unknown service, a max of 0;
 * -ENOENT: there is no such name, or it has no address; -EHOSTUNREACH: no name server answers, or none can; -ETIMEDOUT
 * after 30 seconds; -EAGAIN: no thread could be started; -ENOMEM; -ECANCELED; -EDEADLK inside a job; and what else the system
 * says.
 */
int td_lookup(const char *place, td_address *found, size_t max);

#ifdef __cplusplus
}
#endif
#endif
