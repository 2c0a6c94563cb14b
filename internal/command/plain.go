package command

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Errors as a user sees them: one line, "oolith: WHERE: WHAT, and more", without texts that are written for Go programmers.

// wrappers are parts of an error's text that name packages and layers of the program. They tell a user nothing.
var wrappers = map[string]bool{
	"oolith": true, "tls": true, "x509": true, "storage": true, "client": true, "server": true, "backup": true, "patch": true, "key": true, "meta": true, "collection": true,
	"start": true, "verify": true, "restore": true, "write": true, "io": true, "persistent layer": true, "layer": true, "shared layer": true, "pebble": true, "badger": true, "sqlite": true, "ko": true, "etcd": true,
}

// goTexts are texts of Go's libraries, and what they mean.
var goTexts = strings.NewReplacer(
	"context canceled", "interrupted",
	"context deadline exceeded", "it took too long",
	"unexpected EOF", "the data is cut off",
	"use of closed network connection", "the connection is closed",
	"read/write on closed pipe", "the connection is closed",
)

// oneLine returns the text of an error in one line. Joined errors are separated by semicolons.
func oneLine(err error) string {
	var text strings.Builder
	for line := range strings.Lines(err.Error()) {
		if line = plainLine(strings.TrimSpace(line)); line == "" {
			continue
		}
		if text.Len() > 0 {
			text.WriteString("; ")
		}
		text.WriteString(line)
	}
	return printable(text.String())
}

// plainLine removes wrappers from a line of an error, and all colons between its parts except the first.
func plainLine(line string) string {
	var parts []string
	for _, part := range splitColons(line) {
		isCommand := len(parts) == 0 && (part == "backup" || part == "patch" || part == "restore" || part == "verify")
		if !wrappers[part] || isCommand {
			parts = append(parts, goTexts.Replace(part))
		}
	}
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return parts[0] + ": " + strings.Join(parts[1:], ", ")
}

// splitColons splits a text at each colon that is followed by a blank and not quoted.
func splitColons(text string) (parts []string) {
	quoted, start := false, 0
	for i := 0; i < len(text); i++ {
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, `'"'`), quoted && strings.HasPrefix(rest, `\"`):
			i++ // the quotation mark is a character
		case rest[0] == '"':
			quoted = !quoted
		case !quoted && strings.HasPrefix(rest, ": "):
			parts = append(parts, text[start:i])
			start = i + len(": ")
		}
	}
	return append(parts, text[start:])
}

// commandError is the error for an unknown command.
func commandError(err error) error {
	text, suggested, found := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
	if text, isUnknown := strings.CutSuffix(text, ` for "oolith"`); isUnknown {
		names := strings.Fields(suggested)
		slices.Sort(names)
		if names = slices.Compact(names); found {
			return fmt.Errorf(`%s; did you mean %s? See "oolith help"`, text, strings.Join(names, " or "))
		}
		return fmt.Errorf(`%s; see "oolith help"`, text)
	}
	return err
}

// flagError is the error for a flag that the command does not have, or that has a wrong value.
func flagError(cmd *cobra.Command, err error) error {
	see := cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		return fmt.Errorf("unknown flag %s; see %q", name, see)
	case errors.As(err, &missing):
		return fmt.Errorf("--%s needs a value; see %q", missing.GetFlag().Name, see)
	case errors.As(err, &invalid):
		return fmt.Errorf("--%s %q: %s; see %q", invalid.GetFlag().Name, invalid.GetValue(), expectedValue(invalid), see)
	}
	return fmt.Errorf("%w; see %q", err, see)
}

// expectedValue says what is wrong with the value of a flag.
func expectedValue(invalid *pflag.InvalidValueError) string {
	if errors.Is(invalid, strconv.ErrRange) {
		return "the number is too large"
	}
	switch invalid.GetFlag().Value.Type() {
	case "int", "int64":
		return "expected a whole number"
	case "uint64":
		return "expected a whole number, 0 or more"
	case "float64":
		return "expected a number such as 100 or 0.5"
	case "bool":
		return "expected true or false"
	case "duration":
		if _, own := invalid.GetFlag().Value.(ttlValue); !own {
			return "expected a time such as 10s, 5m or 1h"
		}
	}
	return strings.TrimPrefix(invalid.Unwrap().Error(), strconv.Quote(invalid.GetValue())+": ")
}

// listenError is the error for an address that cannot be listened on.
func listenError(err error) error {
	var wrong *net.AddrError
	var unknown *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return errors.New("another program uses the address; choose another port, or 0 for a free one")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errors.New("this machine does not have the address")
	case errors.Is(err, syscall.EACCES):
		return errors.New("no permission to use the address; choose a port above 1023")
	case errors.As(err, &wrong):
		return errors.New("invalid port, expected 0 to 65535")
	case errors.As(err, &unknown):
		return errors.New("unknown host name or port")
	}
	return err
}
