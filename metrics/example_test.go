package metrics_test

import (
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/metrics"
)

// The figures of a store in a registry, which promhttp.HandlerFor would serve.
func ExampleNewCollector() {
	store, err := oolith.Open("memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	registry := prometheus.NewRegistry()
	if err := registry.Register(metrics.NewCollector(store, prometheus.Labels{"store": "cities"})); err != nil {
		log.Fatal(err)
	}

	if _, err := store.Set("cities/lisbon", []byte(`{"trams":57}`)); err != nil {
		log.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "oolith_data_bytes" {
			fmt.Println(family.GetName(), family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: oolith_data_bytes 12
}
