/*
 * Answers questions about one binary policy with libsepol, the reference
 * implementation in user space. The tests compile it and compare.
 *
 *	driver POLICY < questions > answers
 *
 * A question is a line of words, its answer is a line:
 *
 *	av SOURCE TARGET CLASS          allowed auditallow auditdeny, in hex
 *	create|member|change S T CLASS  a context
 *	validatetrans OLD NEW TASK CLASS  1 or 0
 *	context CONTEXT                 the context in canonical form
 *	bool NAME 0|1                   ok; sets a boolean for what follows
 *	time SOURCE TARGET CLASS N      nanoseconds of processor time for N decisions
 *	load                            nanoseconds of processor time, and bytes, that reading the policy took
 *
 * "error" answers what libsepol refuses.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sepol/debug.h>
#include <sepol/policydb/conditional.h>
#include <sepol/policydb/policydb.h>
#include <sepol/policydb/services.h>
#include <sepol/policydb/sidtab.h>

static policydb_t db;
static sidtab_t sidtab;
static long long load_ns;
static size_t load_bytes;

static long long since(const struct timespec *from)
{
	struct timespec to;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	return (to.tv_sec - from->tv_sec) * 1000000000LL + to.tv_nsec - from->tv_nsec;
}

static int sid(const char *context, sepol_security_id_t *out)
{
	return context && sepol_context_to_sid(context, strlen(context), out) == 0;
}

static int tclass(const char *name, sepol_security_class_t *out)
{
	class_datum_t *c = name ? hashtab_search(db.p_classes.table, name) : NULL;
	if (c)
		*out = c->s.value;
	return c != NULL;
}

static void print_sid(sepol_security_id_t s)
{
	char *text;
	size_t len;
	if (sepol_sid_to_context(s, &text, &len) == 0) {
		puts(text);
		free(text);
	} else {
		puts("error");
	}
}

static void answer(char **w)
{
	sepol_security_id_t a, b, c;
	sepol_security_class_t k;
	struct sepol_av_decision d;

	if (!strcmp(w[0], "av") && sid(w[1], &a) && sid(w[2], &b) && tclass(w[3], &k) &&
	    sepol_compute_av(a, b, k, 0, &d) == 0) {
		printf("%x %x %x\n", d.allowed, d.auditallow, d.auditdeny);
		return;
	}
	if (!strcmp(w[0], "time") && sid(w[1], &a) && sid(w[2], &b) && tclass(w[3], &k) && w[4]) {
		struct timespec from;
		long n = atol(w[4]);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		for (long i = 0; i < n; i++)
			sepol_compute_av(a, b, k, 0, &d);
		printf("%lld\n", since(&from));
		return;
	}
	if (!strcmp(w[0], "load")) {
		printf("%lld %zu\n", load_ns, load_bytes);
		return;
	}
	if (!strcmp(w[0], "context") && sid(w[1], &a)) {
		print_sid(a);
		return;
	}
	if (!strcmp(w[0], "validatetrans") && sid(w[1], &a) && sid(w[2], &b) && sid(w[3], &c) && tclass(w[4], &k)) {
		char *why = NULL;
		printf("%d\n", sepol_validate_transition_reason_buffer(a, b, c, k, &why, 0) == 0);
		free(why);
		return;
	}
	if (!strcmp(w[0], "bool") && w[1] && w[2]) {
		cond_bool_datum_t *v = hashtab_search(db.p_bools.table, w[1]);
		if (v) {
			v->state = atoi(w[2]);
			evaluate_conds(&db);
			puts("ok");
			return;
		}
	}
	if (w[1] && w[2] && w[3] && sid(w[1], &a) && sid(w[2], &b) && tclass(w[3], &k)) {
		if (!strcmp(w[0], "create") && sepol_transition_sid(a, b, k, &c) == 0) {
			print_sid(c);
			return;
		}
		if (!strcmp(w[0], "member") && sepol_member_sid(a, b, k, &c) == 0) {
			print_sid(c);
			return;
		}
		if (!strcmp(w[0], "change") && sepol_change_sid(a, b, k, &c) == 0) {
			print_sid(c);
			return;
		}
	}
	puts("error");
}

int main(int argc, char **argv)
{
	static char line[1 << 16];
	struct policy_file file;
	struct timespec from;
	FILE *f;

	sepol_debug(0);
	if (argc != 2 || !(f = fopen(argv[1], "r"))) {
		fprintf(stderr, "usage: driver POLICY\n");
		return 2;
	}
	policy_file_init(&file);
	file.type = PF_USE_STDIO;
	file.fp = f;
	load_bytes = mallinfo2().uordblks;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	if (policydb_init(&db) || policydb_read(&db, &file, 0) || policydb_load_isids(&db, &sidtab)) {
		fprintf(stderr, "libsepol refuses %s\n", argv[1]);
		return 1;
	}
	load_ns = since(&from);
	load_bytes = mallinfo2().uordblks - load_bytes;
	sepol_set_policydb(&db);
	sepol_set_sidtab(&sidtab);
	while (fgets(line, sizeof line, stdin)) {
		char *words[8] = { NULL }, *p = strtok(line, " \n");
		for (int i = 0; p && i < 7; i++, p = strtok(NULL, " \n"))
			words[i] = p;
		if (words[0])
			answer(words);
	}
	return 0;
}
