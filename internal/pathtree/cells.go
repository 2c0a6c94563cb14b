package pathtree

import "math/bits"

// cells holds the versions of a directory. A cell keeps its number as long as its key exists, so an entry of the list
// refers to it by number, which the garbage collector does not follow. The directory's mu guards it.
//
// Cells are in blocks of 1, 2, 4, 8 ... cells, so a cell never moves and a large directory never copies its cells. Freed
// cells are used again. Their memory is released when the directory is empty.
type cells struct {
	blocks [][]*Version
	last   uint   // the greatest number in use so far
	freed  []uint // numbers to use again
}

// find returns the block of a cell and its place in the block. The number of a cell is 1 or greater.
func find(cell uint) (block int, place uint) {
	block = bits.Len(cell) - 1
	return block, cell - 1<<block
}

// at returns the version in a cell.
func (s *cells) at(cell uint) *Version {
	block, place := find(cell)
	return s.blocks[block][place]
}

// set replaces the version in a cell.
func (s *cells) set(cell uint, n *Version) {
	block, place := find(cell)
	s.blocks[block][place] = n
}

// add puts a version into a free cell and returns the cell's number.
func (s *cells) add(n *Version) (cell uint) {
	if last := len(s.freed) - 1; last >= 0 {
		cell, s.freed = s.freed[last], s.freed[:last]
	} else {
		s.last++
		cell = s.last
	}
	block, place := find(cell)
	if block == len(s.blocks) {
		s.blocks = append(s.blocks, make([]*Version, 1<<block))
	}
	s.blocks[block][place] = n
	return cell
}

// free empties a cell.
func (s *cells) free(cell uint) {
	s.set(cell, nil)
	s.freed = append(s.freed, cell)
}
