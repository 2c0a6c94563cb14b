package main
import ("testing";"path/filepath";"time";"sync";"sync/atomic")
func BenchmarkZZ(b *testing.B){
	for _, k := range []string{"store","bare"} {
	b.Run(k, func(b *testing.B){
	var w writer
	if k=="store" {
	store, err := durableStore(filepath.Join(b.TempDir(),"s")); if err!=nil {b.Fatal(err)}
	defer store.Close()
	w = storeWriter(store)
	} else { db,err := barePebble(filepath.Join(b.TempDir(),"b")); if err!=nil {b.Fatal(err)}; defer db.Close(); w = pebbleWriter(db) }
	paths := lookups(1000000); data := bodies()
	var n atomic.Int64
	stop := time.Now().Add(4*time.Second)
	var wg sync.WaitGroup
	b.ResetTimer()
	for g := range 64 { wg.Go(func(){ for i:=g; time.Now().Before(stop); i+=64 { if err:=w(paths[i%len(paths)], data[i%len(data)]); err!=nil {panic(err)}; n.Add(1)} }) }
	wg.Wait()
	b.ReportMetric(float64(n.Load())/4, "writes/s")
	})
	}
}
