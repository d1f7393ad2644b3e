/* Work that is done by several threads at once. Included by layers.c. */

typedef struct Job Job;
struct Job {
    void (*run)(Job *, int part);
    int parts;
};

/* A share of `count` things, for part `part`. */
static void share_of(const Job *job, int part, int count, int *from, int *to) {
    int each = (count + job->parts - 1) / job->parts;
    *from = part * each < count ? part * each : count;
    *to = *from + each < count ? *from + each : count;
}

static void pause_a_little(int times) {
    if (times > 4096) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/* Helping threads: one job at a time; whoever finds them at work does without them. */

#define MOST_HELPERS 15
static pthread_mutex_t helpers_free = PTHREAD_MUTEX_INITIALIZER; /* held while a job is theirs */
static pthread_mutex_t helpers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t helpers_called = PTHREAD_COND_INITIALIZER;
static int helpers;                                    /* that were started */
static unsigned long helpers_began[MOST_HELPERS + 1]; /* the round each was started in */
static Job *helpers_job;                               /* on its caller's stack; NULL when it is done */
static int helpers_parts;                              /* of the last one */
static unsigned long helpers_round;
static atomic_int helpers_done;

static void *help(void *argument) {
    int part = (int)(intptr_t)argument;
    unsigned long seen = helpers_began[part];
    for (;;) {
        pthread_mutex_lock(&helpers_lock);
        while (helpers_round == seen) pthread_cond_wait(&helpers_called, &helpers_lock);
        seen = helpers_round;
        /* Nobody waits for those that have no part in a job: it may be gone when they look. */
        Job *job = part < helpers_parts ? helpers_job : 0;
        pthread_mutex_unlock(&helpers_lock);
        if (job) {
            job->run(job, part);
            atomic_fetch_add(&helpers_done, 1);
        }
    }
    return 0;
}

static void helpers_are_gone(void) { /* in the child of a fork */
    helpers = 0;
    pthread_mutex_init(&helpers_free, 0);
    pthread_mutex_init(&helpers_lock, 0);
    pthread_cond_init(&helpers_called, 0);
}

static int start_helpers(int wanted) {
    static int watched;
    if (!watched) {
        pthread_atfork(0, 0, helpers_are_gone);
        watched = 1;
    }
    while (helpers < wanted) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        helpers_began[helpers + 1] = helpers_round;
        int failed = pthread_create(&thread, &attributes, help, (void *)(intptr_t)(helpers + 1));
        pthread_attr_destroy(&attributes);
        if (failed) break;
        helpers++;
    }
    return helpers < wanted ? helpers : wanted;
}

/* Do a job in up to `parts` parts; how many is settled before any of them begins. */
static void do_in_parts(Job *job, int parts) {
    int wanted = parts - 1 < MOST_HELPERS ? parts - 1 : MOST_HELPERS;
    job->parts = 1;
    if (wanted < 1 || pthread_mutex_trylock(&helpers_free) != 0) {
        job->run(job, 0);
        return;
    }
    wanted = start_helpers(wanted);
    job->parts = wanted + 1;
    atomic_store(&helpers_done, 0);
    pthread_mutex_lock(&helpers_lock);
    helpers_job = job;
    helpers_parts = job->parts;
    helpers_round++;
    pthread_cond_broadcast(&helpers_called);
    pthread_mutex_unlock(&helpers_lock);
    job->run(job, 0);
    for (int times = 0; atomic_load(&helpers_done) < wanted; times++) pause_a_little(times);
    pthread_mutex_lock(&helpers_lock);
    helpers_job = 0;
    pthread_mutex_unlock(&helpers_lock);
    pthread_mutex_unlock(&helpers_free);
}
