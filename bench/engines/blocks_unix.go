//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// blocksOf returns the space that a file takes on disk, in bytes: some engines create files far larger than their
// content.
func blocksOf(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}
