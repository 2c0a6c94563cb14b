package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/key"
)

// ifExists is what happens to a record whose path has an object.
type ifExists int

const (
	replaceExisting ifExists = iota
	skipExisting
	failOnExisting
)

var ifExistsNames = []string{"replace", "skip", "fail"}

// String, Set and Type make it the value of a flag.
func (e *ifExists) String() string { return ifExistsNames[*e] }

// Set takes one of the names.
func (e *ifExists) Set(text string) error {
	for i, name := range ifExistsNames {
		if name == text {
			*e = ifExists(i)
			return nil
		}
	}
	return errors.New("expected replace, skip or fail")
}

// Type is how help names the value.
func (e *ifExists) Type() string { return "WHAT" }

func addIfExists(cmd *cobra.Command, to *ifExists) {
	cmd.Flags().Var(to, "if-exists", "what to do if the path has an object: replace, skip or fail")
	complete(cmd, "if-exists", cobra.FixedCompletions(ifExistsNames, cobra.ShellCompDirectiveNoFileComp))
}

// checkOnly rejects an --only that is neither a pattern nor a path.
func checkOnly(cmd *cobra.Command, pattern string) error {
	if !cmd.Flags().Changed("only") {
		return nil
	}
	if err := key.Check(pattern); err != nil {
		return usage(fmt.Errorf("--only %q: %w", pattern, err))
	}
	return nil
}
