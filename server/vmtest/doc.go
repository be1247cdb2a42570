// Package vmtest shows that sememcached works where a real SELinux kernel
// decides. With the build tag vm its one test, TestVM, boots Debian's kernel in
// QEMU under software emulation, needs no root and no disk, and is run by make vm.
//
// The machine's initramfs holds this package's own test binary as /init, the real
// server as /sememcached, and binary policies. As process 1 the test binary mounts
// the pseudo file systems, loads a policy, and runs its tests named TestGuest:
// they start the server in its domain and clients as processes of other domains,
// and change the kernel's policy, booleans and mode around them. Their go test
// lines go over the second serial line to the host, framed by marks:
//
//	@@PLAN n          n tests are going to be run
//	@@END status=0    the tests have ended, with the exit status of go test
//
// The host knows the names of the tests from the same binary. A test that did not
// report, a plan of another size, or no end mark is a failure, and the output of
// the machine is shown.
//
// # The policy
//
// testdata/kernel.cil is what a kernel needs; the rules are those of the built-in
// policy, policy/default.cil, and testdata/tests.cil. Variants of it are made by
// exact changes of the text; see policies.go.
//
// # What it needs
//
// The Debian packages qemu-system-x86, secilc and netlabel-tools, and apt-get
// download for the kernel package, which is unpacked and never installed. The kernel is kept in the
// user's cache under its version. A tool that is missing skips the test, and fails
// it where the environment has CI.
//
//	VMTEST_RUN=REGEXP    run only these tests of the guest
//	VMTEST_KERNEL=FILE   boot this kernel
package vmtest
