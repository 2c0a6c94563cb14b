//go:build !linux

package enginetest

import "testing"

// mountReadOnly is for Linux.
func mountReadOnly(testing.TB, string) (mounted string, ok bool) { return "", false }
