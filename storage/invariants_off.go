//go:build !invariants

package storage

// invariants turns on checks that cost time: freed chunks are poisoned, and
// allocation looks whether somebody wrote to one.
const invariants = false
