/*
 * The ceiling: a server that makes the system calls of a memcached server and
 * nothing else. It finds the ends of requests, stores nothing, and answers every
 * get with a hit and every set with STORED. No server with the same system calls
 * can be faster.
 *
 *	echo PORT|PATH VALUESIZE KEYLENGTH
 *
 * One thread, epoll. Keys must all have the same length, data blocks and values
 * the same size. A number listens on 127.0.0.1, anything else on a UNIX socket.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS = 256, IN = 256 << 10 };

struct conn {
	int fd;
	char kind;	/* first byte of the line, 0 between lines */
	long line;	/* bytes of the line so far */
	long skip;	/* bytes of a data block still to come */
	char *rest;	/* what the kernel did not take */
	size_t off, len;
};

static size_t valsize, keylen, blocklen, hitlen, outlen, outcap;
static char *block, *out, in[IN];
static int ep;

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

static void end(struct conn *c)
{
	close(c->fd);
	free(c->rest);
	free(c);
}

static void watch(struct conn *c, int op, unsigned events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (epoll_ctl(ep, op, c->fd, &ev) < 0)
		die("epoll_ctl");
}

static void reply(struct conn *c)
{
	ssize_t n = send(c->fd, out, outlen, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		n = 0;
	if ((size_t)n < outlen) {
		c->len = outlen - n;
		c->off = 0;
		if (!(c->rest = malloc(c->len)))
			die("malloc");
		memcpy(c->rest, out + n, c->len);
		watch(c, EPOLL_CTL_MOD, EPOLLOUT);
	}
}

static void drain(struct conn *c)
{
	ssize_t n = send(c->fd, c->rest + c->off, c->len - c->off, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0)
		c->off += n;
	if (c->off == c->len) {
		free(c->rest);
		c->rest = NULL;
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	}
}

static void serve(struct conn *c)
{
	ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(c);
		return;
	}
	outlen = 0;
	parse(c, in, n);
	if (outlen > 0)
		reply(c);
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

static void admit(int fd)
{
	int one = 1;
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		die("calloc");
	c->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
	if (c->fd < 0) {
		free(c);
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

int main(int argc, char **argv)
{
	struct epoll_event evs[EVENTS];
	struct conn lc = { 0 };
	int n, i;

	if (argc != 4)
		return 2;
	valsize = atol(argv[2]);
	keylen = atol(argv[3]);
	block = malloc(valsize + 100);
	blocklen = sprintf(block, "VALUE key:00000000 0 %zu\r\n", valsize);
	memset(block + blocklen, 'x', valsize);
	blocklen += valsize;
	memcpy(block + blocklen, "\r\nEND\r\n", 7);
	blocklen += 2;
	hitlen = blocklen + 5;
	ep = epoll_create1(0);
	lc.fd = listener(argv[1]);
	watch(&lc, EPOLL_CTL_ADD, EPOLLIN);
	for (;;) {
		n = epoll_wait(ep, evs, EVENTS, -1);
		for (i = 0; i < n; i++) {
			struct conn *c = evs[i].data.ptr;

			if (c == &lc)
				admit(lc.fd);
			else if (c->rest)
				drain(c);
			else
				serve(c);
		}
	}
}
