package main

// tlsOptions are the names of -o that begin with ssl_.
var tlsOptions []extOption
