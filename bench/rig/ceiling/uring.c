/*
 * The ceiling by io_uring: like echo.c, but received by multishot requests into
 * buffers that the kernel picks, and sent by requests that are handed over with
 * the next wait, so that one system call serves every connection that is ready.
 *
 *	uring PORT|PATH VALUESIZE KEYLENGTH
 *
 * Needs Linux 6.1 and liburing.
 */
#include "memcached.h"
#include <liburing.h>

enum { BUFFERS = 512, SIZE = 16 << 10, ENTRIES = 2048, COMPLETIONS = 8192, ROOM = 64 << 20 };

static struct io_uring ring;
static struct io_uring_buf_ring *br;
static char *bufs;

static struct io_uring_sqe *request(void)
{
	struct io_uring_sqe *q = io_uring_get_sqe(&ring);

	if (!q) {
		io_uring_submit(&ring);
		q = io_uring_get_sqe(&ring);
	}
	return q;
}

static void arm(struct conn *c)
{
	struct io_uring_sqe *q = request();

	io_uring_prep_recv_multishot(q, c->fd, NULL, 0, 0);
	q->flags |= IOSQE_BUFFER_SELECT;
	io_uring_sqe_set_data(q, c);
}

static void admit(int fd)
{
	int one = 1;
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		die("calloc");
	c->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	arm(c);
}

static void setup(void)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
		.cq_entries = COMPLETIONS,
	};
	struct io_uring_buf_reg reg = { .ring_entries = BUFFERS };
	int i;

	if (io_uring_queue_init_params(ENTRIES, &ring, &p) < 0)
		die("io_uring");
	if (posix_memalign((void **)&br, 4096, BUFFERS * sizeof(struct io_uring_buf)) || !(bufs = malloc((size_t)BUFFERS * SIZE)))
		die("memory");
	reg.ring_addr = (unsigned long)br;
	if (io_uring_register_buf_ring(&ring, &reg, 0))
		die("buffers");
	io_uring_buf_ring_init(br);
	for (i = 0; i < BUFFERS; i++)
		io_uring_buf_ring_add(br, bufs + (size_t)i * SIZE, SIZE, i, BUFFERS - 1, i);
	io_uring_buf_ring_advance(br, BUFFERS);
	/*
	 * Requests point into the replies, which must not move. What a full socket
	 * has not taken is overwritten by the next turn's, of the same bytes.
	 */
	outcap = ROOM;
	if (!(out = malloc(outcap)))
		die("memory");
}

/* received answers what came in buffer b. */
static void received(struct conn *c, int b, int n)
{
	size_t at = outlen;
	struct io_uring_sqe *q;

	parse(c, bufs + (size_t)b * SIZE, n);
	if (outlen == at)
		return;
	q = request();
	io_uring_prep_send(q, c->fd, out + at, outlen - at, MSG_NOSIGNAL | MSG_WAITALL);
	q->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(q, (unsigned long)c | 1);
}

int main(int argc, char **argv)
{
	int listening = prepare(argc, argv);
	struct io_uring_sqe *q;
	struct io_uring_cqe *e;
	unsigned head, n, back;

	setup();
	q = request();
	io_uring_prep_multishot_accept(q, listening, NULL, NULL, 0);
	io_uring_sqe_set_data(q, NULL);
	for (;;) {
		io_uring_submit_and_wait(&ring, 1);
		n = back = 0;
		outlen = 0;
		io_uring_for_each_cqe(&ring, head, e) {
			struct conn *c = (void *)(unsigned long)e->user_data;

			n++;
			if (e->user_data & 1)
				continue; /* a send that failed: the receive says so too */
			if (!c) {
				if (e->res >= 0)
					admit(e->res);
				continue;
			}
			if (e->res == -ENOBUFS) {
				arm(c);
				continue;
			}
			if (e->res <= 0) {
				close(c->fd);
				continue;
			}
			received(c, e->flags >> IORING_CQE_BUFFER_SHIFT, e->res);
			io_uring_buf_ring_add(br, bufs + (size_t)(e->flags >> IORING_CQE_BUFFER_SHIFT) * SIZE, SIZE,
					      e->flags >> IORING_CQE_BUFFER_SHIFT, BUFFERS - 1, back++);
			if (!(e->flags & IORING_CQE_F_MORE))
				arm(c);
		}
		io_uring_cq_advance(&ring, n);
		if (back)
			io_uring_buf_ring_advance(br, back);
	}
}
