package main

import (
	"fmt"
	"runtime"
)

// memoryRows measures what an object costs beyond its path and its data.
func memoryRows(c config) ([]row, error) {
	payload := len(path(0)) + dataSize

	before := heap()
	store, err := memoryStore(c.objects)
	if err != nil {
		return nil, err
	}
	ours := perObject(heap()-before, c.objects, payload)
	store.Close()
	store = nil

	before = heap()
	bare := filledMap(c.objects)
	theirs := perObject(heap()-before, c.objects, payload)
	if size := bare.Size(); size != c.objects {
		return nil, fmt.Errorf("the bare map holds %d objects, expected %d", size, c.objects)
	}
	return []row{compared("memory per object beyond path and data / xsync's", "B",
		[]float64{ours}, []float64{theirs}, oursAtMost(250))}, nil
}

// heap returns the bytes of all objects in use.
func heap() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // frees what pools kept through the first one
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

func perObject(bytes float64, objects, payload int) float64 {
	return bytes/float64(objects) - float64(payload)
}
