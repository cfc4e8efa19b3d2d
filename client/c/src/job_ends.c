/* SPDX-License-Identifier: Apache-2.0 */
#include "job_ends.h"

#include "clock.h"

enum { LOST_MS = 5000 /* so long a write that was lost may still arrive */ };

void job_tell(struct io *io, struct job *j, int answer, int cause)
{
    pthread_mutex_lock(&io->lock);
    j->is_ended = true;
    j->answer = answer;
    j->cause = cause;
    pthread_cond_broadcast(&io->ended);
    pthread_mutex_unlock(&io->lock);
    if (j->notice != NULL) {
        struct job *notice = j->notice;
        j->notice = NULL;
        io->notices--;
        notice->answer = answer;
        notice->cause = cause;
        notice->cost_ns = clock_ns() - j->began_ns;
        io_complete(io, notice);
    }
}

void job_release(struct io *io, struct job *j)
{
    if (j->is_pending) {
        /* Once more, so that a read that began before the cache had deleted is not believed. */
        struct fences *f = &j->store->fences;
        bool is_all = j->kind == JOB_CLEAR || j->kind == JOB_BLIND;
        atomic_fetch_add(is_all ? &f->all : &f->slots[j->mark.slot], 1);
        atomic_fetch_sub(is_all ? &f->pending_all : &f->pending[j->mark.slot], 1);
        j->is_pending = false;
    }
    pthread_mutex_lock(&io->lock);
    if (is_del(j)) {
        io->dels--;
    } else if (j->kind != JOB_BLIND && j->kind != JOB_PROBE) {
        io->queued--;
        io->queued_bytes -= j->bytes;
    }
    pthread_mutex_unlock(&io->lock);
}

static void end_read(struct io *io, struct job *j, int cause)
{
    job_release(io, j);
    if (cause != SC_CAUSE_NONE) {
        j->read_key.value = bytes_unref(j->read_key.value);
        j->reading.epoch = 0;
        j->read_key.answer = SC_MISS;
        j->read_key.cause = cause;
    }
    cache_note(io->cache, cause != SC_CAUSE_NONE       ? cause
                          : j->reading.error_count > 0 ? j->reading.cause
                                                       : SC_CAUSE_NONE);
    io_complete(io, j);
}

void job_end_unanswered(struct io *io, struct job *j, bool was_sent, int cause)
{
    int64_t now = clock_ns();
    if (j->kind == JOB_READ) {
        end_read(io, j, cause);
        return;
    }
    if (is_del(j) && now < j->given_up_ns && !io->is_ending) {
        count(io->cache, COUNT_DELS_REPEATED, was_sent);
        j->is_plain |= was_sent && cause == SC_CAUSE_CLOSED;
        j->not_before_ns = now + (int64_t)BACKOFF_MIN_MS * NS_PER_MS;
        queue_put(&io->delayed, j);
        return;
    }
    if (j->kind == JOB_SET) {
        if (was_sent) {
            io->lost_writes_ns = now;
        }
        count(io->cache, COUNT_SETS_SHED, 1);
    }
    if (is_del(j)) {
        job_tell(io, j, SC_SKIPPED, cause);
    }
    job_release(io, j);
    job_unref(j);
}

void job_end_answered(struct io *io, struct lane *lane, struct job *j)
{
    int64_t now = clock_ns();
    bool has_lost =
        io->lost_writes_ns != 0 && now - io->lost_writes_ns < (int64_t)LOST_MS * NS_PER_MS;
    if (j->kind == JOB_READ) {
        if (reading_next(&j->reading)) {
            j->sent_part = 0;
            j->sent_of_part = 0;
            queue_put(&lane->waiting, j);
            return;
        }
        end_read(io, j, SC_CAUSE_NONE);
        return;
    }
    enum job_end end = job_finish(j, has_lost, now);
    for (struct job *s; (s = j->spawned) != NULL;) {
        j->spawned = s->next;
        pthread_mutex_lock(&io->lock);
        io->queued++;
        io->queued_bytes += s->bytes;
        pthread_mutex_unlock(&io->lock);
        queue_put(&lane->waiting, s);
    }
    if (end == JOB_AGAIN) {
        queue_put_first(&lane->waiting, j);
        return;
    }
    if (is_del(j) && !j->has_error) {
        job_tell(io, j, SC_OK, SC_CAUSE_NONE);
    }
    if (end == JOB_DELAYED) {
        count(io->cache, COUNT_DELS_REPEATED, 1);
        queue_put(&io->delayed, j);
        return;
    }
    job_release(io, j);
    job_unref(j);
}
