/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim SEED [COUNT] [-v] [--twice] [--stale] [--counters] [--proxies N]: runs COUNT seeds from SEED
 * on. -v prints the trace; --twice runs every seed twice and compares; --stale wants no read to be
 * stale in any run, not only where all is calm; --counters shows what the proxies counted in all,
 * to see what the runs have met and what they never do; --proxies makes it N proxies in each. Ends
 * with 1 at the first seed that fails, and says how to repeat it.
 */
#include "base/must.h"
#include "base/nsec.h"
#include "cluster/control_metrics.h"
#include "run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* Of CPU: a machine that stands still for a while is no fault of a seed. A turn that never ends is
 * beyond the checker, which is asked between turns. The slowest seeds take a second with
 * sanitizers. */
enum { SEED_SECONDS_MAX = 120 };

struct totals {
    uint64_t executed, judged, failures_told, masked, faults, virtual_ns, steps, dns_failures;
    uint64_t several, agreements, processes, apart;
    uint64_t upgrades, owing; /* of them: while nodes had something to forget */
    uint64_t *counters;       /* owned; as METRIC_INFO, and behind them CONTROL_METRIC_INFO */
};

/* For the signal handler alone, which has no other way to know. */
static volatile sig_atomic_t seed_high, seed_low;

static void on_crash(int signal_number)
{
    char text[96];
    uint64_t seed = (uint64_t)(uint32_t)seed_high << 32 | (uint32_t)seed_low;
    /* The process ends right here, and numbers need no malloc.
     * NOLINTNEXTLINE(bugprone-signal-handler) */
    int n = snprintf(text, sizeof(text), "\nsim %" PRIu64 " # version %s (signal %d)\n", seed,
                     SUMCACHE_VERSION, signal_number);
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
        _exit(3);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void show_options(const struct sim_options *o, FILE *to)
{
    const struct proxy_settings *p = &o->proxy;
    fprintf(to,
            "hosts: %u proxies of %u workers, %u nodes, %u clients, the inspector. victims "
            "%#x%s%s%s%s\n"
            "request_timeout %.3f ms, stall_timeout %.3f ms, pending_max %u, hash_tags %d, "
            "databases %u, reads %s\n"
            "memory_max %" PRIu64 ", output_max %" PRIu64 ", node_requests_max %u, clients_max %u\n"
            "bulk_above %" PRIu64 ", bulk_max %u, min_rate %" PRIu64 ", values up to %u\n",
            o->proxies, o->workers, o->nodes, o->clients, o->victims, o->calm ? ", calm" : "",
            o->tight ? ", tight" : "", o->starved ? ", starved" : "", o->closes ? ", closes" : "",
            (double)p->request_timeout / NSEC_MS, (double)p->stall_timeout / NSEC_MS,
            p->client_pending_max, p->hash_tags, p->databases,
            p->reads == ON_FAILURE_MISS ? "miss" : "error", p->memory_max, p->client_output_max,
            p->node_requests_max, p->clients_max, p->bulk_above, p->bulk_max, p->client_min_rate,
            o->value_max);
    if (!o->has_control)
        return;
    const struct control_settings *c = &o->control;
    fprintf(
        to,
        "eject_after %.3f ms, %u misses, max_ejected %u %%, hold %.3f to %.3f ms, journal %" PRIu64
        "\nviews take up to %.3f ms, control pauses up to %.3f ms, sources %u\n",
        (double)c->eject_after / NSEC_MS, c->eject_misses, c->max_ejected,
        (double)c->hold_min / NSEC_MS, (double)c->hold_max / NSEC_MS, c->journal_max,
        (double)o->adopt_max / NSEC_MS, (double)o->control_pause_max / NSEC_MS, o->sources);
}

static void count_metrics(const struct sim_proxy *p, struct totals *t)
{
    for (unsigned m = 0; m < METRIC_COUNT; m++)
        t->counters[m] += proxy_metric(p, METRIC_INFO[m].offset);
    for (unsigned m = 0; m < CONTROL_METRIC_COUNT; m++)
        t->counters[METRIC_COUNT + m] += proxy_control_metric(p, CONTROL_METRIC_INFO[m].offset);
    t->dns_failures += p->sources.failures;
}

/* One run. Returns its trace's hash. */
static uint64_t run(uint64_t seed, unsigned proxies, bool stale, FILE *print, bool keep,
                    bool *ret_ok, struct totals *t)
{
    struct sim_options options;
    sim_options_draw(&options, seed, proxies);
    options.stale_checked |= stale;
    const struct itimerval limit = {.it_value = {.tv_sec = SEED_SECONDS_MAX}};
    must(setitimer(ITIMER_PROF, &limit, NULL) == 0);
    seed_high = (sig_atomic_t)(seed >> 32);
    seed_low = (sig_atomic_t)(uint32_t)seed;
    if (print)
        show_options(&options, print);
    struct sim *s = sim_new(seed, &options, print, keep);
    *ret_ok = sim_run(s);
    t->executed += s->checker.executed;
    t->judged += s->checker.judged;
    t->failures_told += s->checker.failures_told;
    t->masked += s->checker.masked;
    t->faults += s->faults.count;
    t->steps += s->steps;
    t->several += options.proxies > 1;
    t->agreements += s->agreement.reached;
    t->processes += s->checker.process_count;
    t->apart += s->checker.stale.apart;
    t->virtual_ns += io_sim_now(s->world) - s->started_at;
    for (unsigned i = 0; i < s->options.proxies; i++) {
        count_metrics(&s->proxies[i], t);
        t->upgrades += s->proxies[i].upgrades;
        t->owing += s->proxies[i].upgrades_owing;
    }
    if (keep) {
        trace_show(&s->trace, stderr);
        char more[24] = "";
        if (proxies)
            snprintf(more, sizeof(more), " --proxies %u", proxies);
        fprintf(stderr, "failed: %s\nsim %" PRIu64 "%s%s # version %s\n", s->checker.message, seed,
                stale ? " --stale" : "", more, SUMCACHE_VERSION);
    }
    uint64_t hash = s->trace.hash;
    sim_free(s);
    return hash;
}

static void show_totals(const struct totals *t, uint64_t seeds, bool counters)
{
    printf("%" PRIu64 " seeds: %" PRIu64 " replies judged, %" PRIu64 " keys executed, %" PRIu64
           " failures told, %" PRIu64 " masked, %" PRIu64 " fault rounds, %" PRIu64
           " steps, %.1f s of virtual time\n",
           seeds, t->judged, t->executed, t->failures_told, t->masked, t->faults, t->steps,
           (double)t->virtual_ns / 1e9);
    if (t->several > 0)
        printf("%" PRIu64 " of them with several proxies, which came to agree %" PRIu64
               " times; %" PRIu64 " processes; %" PRIu64 " reads stale where that may be\n",
               t->several, t->agreements, t->processes, t->apart);
    if (t->upgrades > 0)
        printf("%" PRIu64 " upgrades, %" PRIu64 " of them while nodes had something to forget\n",
               t->upgrades, t->owing);
    for (unsigned m = 0; m < METRIC_COUNT && counters; m++)
        printf("%-26s %12" PRIu64 "\n", METRIC_INFO[m].name, t->counters[m]);
    for (unsigned m = 0; m < CONTROL_METRIC_COUNT && counters; m++)
        printf("%-26s %12" PRIu64 "\n", CONTROL_METRIC_INFO[m].name, t->counters[METRIC_COUNT + m]);
    if (counters)
        printf("%-26s %12" PRIu64 "\n", "dns questions made to fail", t->dns_failures);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: sim SEED [COUNT] [-v] [--twice] [--stale] [--counters] [--proxies N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t numbers[2] = {1, 1};
    unsigned proxies = 0; /* as drawn */
    unsigned given = 0;
    bool verbose = false, twice = false, stale = false, counters = false;
    for (int i = 1; i < argc; i++) {
        char *end;
        if (strcmp(argv[i], "-v") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--twice") == 0)
            twice = true;
        else if (strcmp(argv[i], "--stale") == 0)
            stale = true;
        else if (strcmp(argv[i], "--counters") == 0)
            counters = true;
        else if (strcmp(argv[i], "--proxies") == 0 && i + 1 < argc)
            proxies = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (given < 2 && (numbers[given] = strtoull(argv[i], &end, 10), *end == '\0'))
            given++;
        else
            return usage();
    }
    if (given == 0 || proxies > SIM_PROXIES_MAX)
        return usage();
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    signal(SIGFPE, on_crash);
    signal(SIGPROF, on_crash);
    struct totals t = {.counters = calloc(METRIC_COUNT + CONTROL_METRIC_COUNT, sizeof(uint64_t))};
    struct totals ignored = {.counters =
                                 calloc(METRIC_COUNT + CONTROL_METRIC_COUNT, sizeof(uint64_t))};
    must(t.counters && ignored.counters);
    int status = 0;
    for (uint64_t seed = numbers[0]; seed < numbers[0] + numbers[1] && status == 0; seed++) {
        bool ok;
        uint64_t hash = run(seed, proxies, stale, verbose ? stdout : NULL, false, &ok, &t);
        if (!ok) {
            run(seed, proxies, stale, NULL, true, &ok, &ignored);
            status = 1;
        } else if (twice && run(seed, proxies, stale, NULL, false, &ok, &ignored) != hash) {
            fprintf(stderr,
                    "failed: the same seed took another course\nsim %" PRIu64
                    " --twice # version %s\n",
                    seed, SUMCACHE_VERSION);
            status = 1;
        }
    }
    if (status == 0)
        show_totals(&t, numbers[1], counters);
    free(t.counters);
    free(ignored.counters);
    return status;
}
