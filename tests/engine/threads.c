/* Jobs of one part after another through the library's helping threads, to be built with a sanitizer.
 *
 * Prints how many parts of jobs were not done, or done twice. A job lies on a stack that is used for something else
 * as soon as it is done, and most jobs have fewer parts than there are helpers. One caller is alone, then two get into
 * each other's way.
 */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "threads.h"

enum { JOBS = 8000, CALLERS = 2, MOST_PARTS = 8 };

typedef struct {
    Job job;
    atomic_int done[MOST_PARTS];
} Counted;

static void count_part(Job *job, int part) { atomic_fetch_add(&((Counted *)job)->done[part], 1); }

static __attribute__((noinline)) int one_job(int parts) {
    Counted counted = {.job.run = count_part};
    int wrong = 0;
    do_in_parts(&counted.job, parts);
    for (int i = 0; i < MOST_PARTS; i++) wrong += atomic_load(counted.done + i) != (i < counted.job.parts);
    return wrong;
}

static __attribute__((noinline)) void use_the_stack(void) {
    char room[4096];
    memset(room, 0x55, sizeof room);
    __asm__ volatile("" : : "r"(room) : "memory");
}

static void *call(void *jobs) {
    intptr_t wrong = 0;
    for (intptr_t i = 0; i < (intptr_t)jobs; i++) {
        wrong += one_job(i % 16 ? 2 : 1 + i / 16 % MOST_PARTS);
        use_the_stack();
    }
    return (void *)wrong;
}

int main(void) {
    pthread_t callers[CALLERS];
    intptr_t wrong = one_job(MOST_PARTS); /* all helpers are started */
    wrong += (intptr_t)call((void *)(intptr_t)JOBS);
    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(callers + i, 0, call, (void *)(intptr_t)(JOBS / 8))) return 1;
    for (int i = 0; i < CALLERS; i++) {
        void *its;
        pthread_join(callers[i], &its);
        wrong += (intptr_t)its;
    }
    printf("%d\n", (int)wrong);
    return 0;
}
