// SPDX-License-Identifier: MIT

// What measure.h is to C: how the program is called, its clocks, and a course of samples.
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"syscall"
	"time"
)

const (
	inFlight     = 1000
	bytes        = 10 << 20
	computations = 4
	beaters      = 1000
	samplesMax   = 1 << 20
)

type call struct {
	measure, kind, what string
	workers             int
	seconds             float64
}

func printf(format string, values ...any) {
	fmt.Printf(format, values...)
}

func cpu() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

type course struct {
	countedFrom, until time.Time
	counts             bool
	cpu                int64
	took               []float64
}

func begin(seconds float64) *course {
	now := time.Now()
	return &course{countedFrom: now.Add(time.Duration(seconds * 0.2 * 1e9)), until: now.Add(time.Duration(seconds * 1e9)),
		took: make([]float64, 0, samplesMax)}
}

func (course *course) add(began time.Time) bool {
	now := time.Now()
	if !course.counts && !now.Before(course.countedFrom) {
		course.counts, course.cpu = true, cpu()
		return true
	}
	if course.counts {
		course.took = append(course.took, float64(now.Sub(began)))
	}
	return len(course.took) == 0 || (now.Before(course.until) && len(course.took) < samplesMax)
}

func percentile(values []float64, percent int) float64 {
	sort.Float64s(values)
	if percent == 100 {
		return values[len(values)-1]
	}
	return values[len(values)*percent/100]
}

func (course *course) percentile(percent int) float64 {
	return percentile(course.took, percent)
}

func (course *course) printTrips() {
	used := cpu() - course.cpu
	printf("p50_us %.3f\np99_us %.3f\n", course.percentile(50)/1e3, course.percentile(99)/1e3)
	printf("cpu_us %.3f\n", float64(used)/float64(len(course.took))/1e3)
}

func printLate(late []float64) {
	printf("p99_ms %.4f\nmax_ms %.4f\n", percentile(late, 99)/1e6, percentile(late, 100)/1e6)
}

func main() {
	workers, _ := strconv.Atoi(os.Args[3])
	seconds, _ := strconv.ParseFloat(os.Args[4], 64)
	one := call{os.Args[1], os.Args[2], os.Args[5], workers, seconds}
	map[string]func(call){"trip": trips, "jobs": jobs, "sum": sums, "hand": hands, "ticker": ticker, "beats": beats,
		"crash": crash}[one.measure](one)
}
