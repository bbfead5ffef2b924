// Benthos with what the pipeline beside this file needs: its own components, and two for Kafka and
// one for PostgreSQL (kafka.go, postgres.go). The last line of output has the seconds.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
)

func main() {
	began := time.Now()
	code, err := service.RunCLIToCode(context.Background())
	if err != nil || code != 0 {
		fmt.Fprintln(os.Stderr, "ended with", code, err)
		os.Exit(1)
	}
	fmt.Printf("{\"seconds\": %.3f}\n", time.Since(began).Seconds())
}
