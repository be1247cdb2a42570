// Package vmtest shows that sememcached works where a real SELinux kernel
// decides. With the build tag vm its one test, TestVM, boots Debian's kernel in
// QEMU under software emulation, needs no root and no disk, and is run by make vm.
//
// A machine's initramfs holds this package's own test binary as /init, the real
// server as /sememcached, and binary policies. As process 1 the test binary mounts
// the pseudo file systems, loads a policy, and runs its tests: they start the
// server in its domain and clients as processes of other domains, and change the
// kernel's policy, booleans and mode around them. There are three machines:
//
//	micro    TestGuest*    a policy of our own, small enough to be changed in every way
//	debian   TestDebian*   Debian's policy with our module, and the server as a service
//	off      TestOff*      Debian's kernel without SELinux
//
// Their go test lines go over the second serial line to the host, framed by marks:
//
//	@@PLAN n          n tests are going to be run
//	@@AUDIT record    a record of the kernel's audit stream, or of a server's own log
//	@@END status=0    the tests have ended, with the exit status of go test
//
// The host knows the names of the tests from the same binary. A test that did not
// report, a plan of another size, or no end mark is a failure, and the output of
// the machine is shown. At the end Debian's ausearch and audit2allow read every
// record of the run, and must find in it the rules of testdata/NAME.rules.
//
// # The policies
//
// testdata/kernel.cil is what a kernel needs; the rules are those of the built-in
// policy, policy/default.cil, and testdata/tests.cil. Variants of it are made by
// exact changes of the text; see policies_test.go. Debian's policy is linked with our
// module and testdata/debian.cil; it is kept in the user's cache under the version of
// its package, and linked again when the module has changed.
//
// # What it needs
//
// The Debian packages qemu-system-x86, secilc, netlabel-tools, iproute2, auditd,
// policycoreutils-python-utils and selinux-policy-default, and apt-get download for
// the kernel package, which is unpacked and never installed. The kernel is kept in
// the user's cache under its version. A tool that is missing skips the test, and
// fails it where the environment has CI.
//
//	VMTEST_RUN=REGEXP    run only these tests of the machines
//	VMTEST_COST=FILE     write what the machine "cost" has measured
//	VMTEST_SECONDS=N     for so long under each load
//	VMTEST_KERNEL=FILE   boot this kernel, with its modules in the directory modules beside it
//
// The option -update, with all tests, writes the rules anew.
package vmtest
