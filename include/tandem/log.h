/* SPDX-License-Identifier: MIT */
/*
 * The log: one line an event, on standard error.
 */
#ifndef TANDEM_LOG_H
#define TANDEM_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum td_log_level { TD_LOG_ERROR, TD_LOG_WARNING, TD_LOG_INFO } td_log_level;
typedef enum td_log_format { TD_LOG_TEXT, TD_LOG_JSON } td_log_format;

/* How lines look from now on, in the whole process; text is the default. Any thread. */
void td_log_set_format(td_log_format format);

/*
 * Writes one line with a single write(2); longer than about 2,000 bytes it is cut; when nobody takes it (a full
 * pipe) it is lost. Not a checkpoint; any thread.
 */
void td_log(td_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
