//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// blocksOf is what a file takes on disk, in bytes: some engines make files far larger than what they hold.
func blocksOf(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}
