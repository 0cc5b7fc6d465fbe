/* SPDX-License-Identifier: MIT */
/* Answers and bodies of HTTP/2, as handlers write and read them: the exchange_kind of its streams. */
#ifndef TANDEM_HTTP_H2_ANSWER_H
#define TANDEM_HTTP_H2_ANSWER_H

#include "http/h2_exchange.h"

extern const struct exchange_kind h2_answer;

/* Says 100 Continue, once. */
void h2_answer_continue(struct h2_exchange *exchange);

#endif
