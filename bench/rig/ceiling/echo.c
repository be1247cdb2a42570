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
#include "memcached.h"
#include <sys/epoll.h>

enum { EVENTS = 256, IN = 256 << 10 };

static char in[IN];
static int ep;

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

	ep = epoll_create1(0);
	lc.fd = prepare(argc, argv);
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
