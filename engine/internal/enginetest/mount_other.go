//go:build !linux

package enginetest

import "testing"

// mountReadOnly is available only on Linux.
func mountReadOnly(testing.TB, string) (mounted string, ok bool) { return "", false }
