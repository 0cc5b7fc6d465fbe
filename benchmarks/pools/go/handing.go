// SPDX-License-Identifier: MIT

// trip|jobs|sum|hand goroutines WORKERS SECONDS WHAT PIN: the same with goroutines. A pool is a channel of jobs, and WORKERS
// goroutines that read it; a job's answer comes through a channel of its own.
//
// jobs, WHAT: `pool` are 1,000 goroutines that each hand one job after the other to the pool; `go` are as many that
// start a goroutine for each job instead, which nothing bounds but their number.
package main

/*
#include "work/work.h"
*/
import "C"

import (
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"
)

type job struct {
	run    func() uint64
	answer chan uint64
}

type pool chan job

func openPool(workers, queue int) pool {
	jobs := make(pool, queue)
	for i := 0; i < workers; i++ {
		go func() {
			for job := range jobs {
				job.answer <- job.run()
			}
		}()
	}
	return jobs
}

func empty() uint64 {
	return 0
}

func trips(call call) {
	gap, _ := strconv.Atoi(call.what)
	jobs, course := openPool(call.workers, 1), begin(call.seconds)
	one := job{empty, make(chan uint64, 1)}
	for more := true; more; {
		if gap > 0 {
			time.Sleep(time.Duration(gap) * time.Microsecond)
		}
		began := time.Now()
		jobs <- one
		<-one.answer
		more = course.add(began)
	}
	course.printTrips()
}

func feed(jobs pool, stop *atomic.Bool, done *atomic.Int64) {
	one := job{empty, make(chan uint64, 1)}
	for !stop.Load() {
		if jobs != nil {
			jobs <- one
		} else {
			go func() { one.answer <- one.run() }()
		}
		<-one.answer
		done.Add(1)
	}
}

func jobs(call call) {
	var stop atomic.Bool
	var counts [inFlight]struct {
		done atomic.Int64
		_    [56]byte
	}
	var jobs pool
	if call.what == "pool" {
		jobs = openPool(call.workers, inFlight)
	}
	for i := range counts {
		go feed(jobs, &stop, &counts[i].done)
	}
	sum := func() (all int64) {
		for i := range counts {
			all += counts[i].done.Load()
		}
		return
	}
	time.Sleep(time.Duration(call.seconds * 0.2 * 1e9))
	cpuBegan, before, began := cpu(), sum(), time.Now()
	time.Sleep(time.Duration(call.seconds * 0.8 * 1e9))
	done := float64(sum() - before)
	printf("per_s %.1f\n", done/time.Since(began).Seconds())
	printf("cpu_us %.4f\n", float64(cpu()-cpuBegan)/done/1e3)
	stop.Store(true)
}

func fill(data []byte, with byte) {
	for i := range data {
		data[i] = with
	}
}

func sums(call call) {
	jobs, course := openPool(call.workers, 1), begin(call.seconds)
	data := make([]byte, bytes)
	one := job{func() uint64 { return uint64(C.work_sum(unsafe.Pointer(&data[0]), C.size_t(len(data)))) }, make(chan uint64, 1)}
	for more, with := true, byte(1); more; with++ {
		fill(data, with)
		began := time.Now()
		jobs <- one
		sum := <-one.answer
		more = course.add(began)
		if sum != uint64(C.work_sum_of(C.int(with), C.size_t(len(data)))) {
			panic("the sum is wrong")
		}
	}
	printf("p50_ms %.4f\n", course.percentile(50)/1e6)
}

func hands(call call) {
	jobs := openPool(call.workers, 1)
	for _, size := range []int{64, 4 << 10, 256 << 10, bytes, 64 << 20} {
		course, data := begin(call.seconds/5), make([]byte, size)
		one := job{func() uint64 { return uint64(data[0]) }, make(chan uint64, 1)}
		fill(data, 1)
		for more, with := true, byte(1); more; with++ {
			data[0] = with
			began := time.Now()
			jobs <- one
			if <-one.answer != uint64(with) {
				panic("another byte")
			}
			more = course.add(began)
		}
		printf("us_%d %.3f\n", size, course.percentile(50)/1e3)
	}
}
