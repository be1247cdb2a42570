// Package unit runs unit tests of SELinux policies: a file of one-line
// expectations, asked of a policy of package policy. It reads no files and knows
// no servers; whoever runs it gives it the text, and what decides labels.
//
// A line is one of the following; # begins a comment where a word could begin.
//
//	allow            SOURCE TARGET CLASS PERMS          each of them is allowed
//	deny             SOURCE TARGET CLASS PERMS          each of them is denied
//	dontaudit        SOURCE TARGET CLASS PERMS          each of them is denied and not logged
//	transition       SOURCE TARGET CLASS [name NAME] = CONTEXT
//	label            CLIENT KEY = CONTEXT               what a server gives to a new item
//	explain-contains SOURCE TARGET CLASS PERMS : TEXT   the explanation contains TEXT
//	valid            CONTEXT
//	invalid          CONTEXT
//
//	let NAME = VALUE...                                 a variable; several values are several tests
//	table NAME COLUMN...                                a variable with columns: one row a line, up to "end"
//	boolean NAME=on|off...                              for the lines that follow
//	contexts FILE | -                                   contexts file for the label lines that follow
//	server CONTEXT | -                                  server context for the label lines that follow
//
// PERMS is a word, a list with commas, or a set in braces. In any line $NAME or
// ${NAME} stands for the variable's value, and $TABLE.COLUMN for a field of a row.
// A line with variables of several values is one test for each combination; all
// uses of one variable or table in a line stand for the same value or row.
// $!TABLE.COLUMN is a field of another row of the table than $TABLE's: every
// other one in turn. $$ is a dollar sign. A value may use variables defined before.
//
//	table tenant  client                              item
//	  system_u:system_r:kv_client_t:s0:c1             system_u:object_r:kv_item_t:s0:c1
//	  system_u:system_r:kv_client_t:s0:c2             system_u:object_r:kv_item_t:s0:c2
//	end
//	allow $tenant.client $tenant.item  kv_item { read write }
//	deny  $tenant.client $!tenant.item kv_item { read write }
//
// A question that makes no sense (a context that is not valid, a class or
// permission that the policy does not have) fails whatever was expected, so that a
// misspelt deny does not pass for ever. A line that cannot be read is an error
// with file and line, and no test runs.
//
// Results are written as TAP version 14, JUnit XML or JSON.
package unit
