/*
 * What the ceilings have in common: as much of the text protocol as tells where
 * requests end, and answers that say what a hit says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct conn {
	int fd;
	char kind;	/* first byte of the line, 0 between lines */
	long line;	/* bytes of the line so far */
	long skip;	/* bytes of a data block still to come */
	char *rest;	/* what the kernel did not take */
	size_t off, len;
};

static size_t valsize, keylen, blocklen, hitlen, outlen, outcap;
static char *block, *out;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static char *room(size_t n)
{
	if (outlen + n > outcap) {
		outcap = 2 * (outlen + n);
		if (!(out = realloc(out, outcap)))
			die("realloc");
	}
	outlen += n;
	return out + outlen - n;
}

static void answer(struct conn *c)
{
	if (c->kind == 's') {
		memcpy(room(8), "STORED\r\n", 8);
		c->skip = valsize + 2;
	} else {
		long keys = (c->line - 5) / (long)(keylen + 1);

		if (keys == 1) {
			memcpy(room(hitlen), block, hitlen);
		} else {
			while (keys-- > 0)
				memcpy(room(blocklen), block, blocklen);
			memcpy(room(5), "END\r\n", 5);
		}
	}
	c->kind = 0;
	c->line = 0;
}

/* parse answers the requests whose line ends in p. */
static void parse(struct conn *c, const char *p, size_t n)
{
	const char *end = p + n, *lf;

	while (p < end) {
		if (c->skip > 0) {
			long k = c->skip < end - p ? c->skip : end - p;

			c->skip -= k;
			p += k;
			continue;
		}
		if (!c->kind)
			c->kind = *p;
		if (!(lf = memchr(p, '\n', end - p))) {
			c->line += end - p;
			return;
		}
		c->line += lf + 1 - p;
		p = lf + 1;
		answer(c);
	}
}

static int listener(const char *where)
{
	int one = 1, fd, port = atoi(where);

	if (port > 0) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
			die("bind");
	} else {
		struct sockaddr_un a = { .sun_family = AF_UNIX };

		strncpy(a.sun_path, where, sizeof a.sun_path - 1);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
			die("bind");
	}
	if (listen(fd, 1024) < 0)
		die("listen");
	return fd;
}

/* prepare reads the arguments and listens. */
static int prepare(int argc, char **argv)
{
	if (argc != 4)
		exit(2);
	valsize = atol(argv[2]);
	keylen = atol(argv[3]);
	block = malloc(valsize + 100);
	blocklen = sprintf(block, "VALUE key:00000000 0 %zu\r\n", valsize);
	memset(block + blocklen, 'x', valsize);
	blocklen += valsize;
	memcpy(block + blocklen, "\r\nEND\r\n", 7);
	blocklen += 2;
	hitlen = blocklen + 5;
	return listener(argv[1]);
}
