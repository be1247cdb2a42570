package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// wholeNumber is the value of a flag that is a whole number. It is read in base 10 like
// memcached's atoi, so that 010 is ten: pflag's own would read it as eight.
type wholeNumber int

func (d *wholeNumber) String() string { return strconv.Itoa(int(*d)) }
func (d *wholeNumber) Type() string   { return "int" }

func (d *wholeNumber) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("expected a decimal number, found %q", s)
	}
	*d = wholeNumber(n)
	return nil
}

// intVarP adds a flag for a whole number.
func intVarP(f *pflag.FlagSet, p *int, name, short string, value int, usage string) {
	*p = value
	f.VarP((*wholeNumber)(p), name, short, usage)
}
