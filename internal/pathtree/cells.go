package pathtree

import "math/bits"

// cells holds the versions of a directory. A cell keeps its number as long as its key exists, so an entry of the list
// refers to it by number, which the garbage collector does not follow. The directory's mu guards it.
//
// Cells are in blocks of 1, 2, 4, 8 ... cells, and then of largestBlock, so a cell never moves and no write copies or
// clears much. Freed cells are used again. Their memory is released when the directory is empty.
type cells struct {
	blocks [][]*Version
	last   uint   // the greatest number in use so far
	freed  []uint // numbers to use again
}

// largestBlock is the size of a large directory's blocks, a power of two.
const largestBlock = 1 << largest

const largest = 12

// locate returns the block of a cell and its place in the block. The number of a cell is 1 or greater.
func locate(cell uint) (block int, place uint) {
	if cell >= largestBlock {
		return int(cell>>largest) + largest - 1, cell % largestBlock
	}
	block = bits.Len(cell) - 1
	return block, cell - 1<<block
}

// at returns the version in a cell.
func (s *cells) at(cell uint) *Version {
	block, place := locate(cell)
	return s.blocks[block][place]
}

// set replaces the version in a cell.
func (s *cells) set(cell uint, n *Version) {
	block, place := locate(cell)
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
	block, place := locate(cell)
	if block == len(s.blocks) {
		s.blocks = append(s.blocks, make([]*Version, 1<<min(block, largest)))
	}
	s.blocks[block][place] = n
	return cell
}

// free empties a cell.
func (s *cells) free(cell uint) {
	s.set(cell, nil)
	s.freed = append(s.freed, cell)
}
