//go:build !unix

package main

import "io/fs"

// blocksOf returns the length of a file in bytes.
func blocksOf(info fs.FileInfo) int64 { return info.Size() }
