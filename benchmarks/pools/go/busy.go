// SPDX-License-Identifier: MIT

// ticker|beats|crash goroutines WORKERS SECONDS WHAT PIN: what else is late, or fails.
package main

/*
#include "work/work.h"
*/
import "C"

import (
	"sync"
	"time"
)

// In Go, so that the scheduler may interrupt it as it would any goroutine that computes.
func burn(seconds float64) {
	for until := time.Now().Add(time.Duration(seconds * 1e9)); time.Now().Before(until); {
	}
}

func compute(call call, computations int) {
	jobs := openPool(call.workers, computations)
	for i := 0; i < computations; i++ {
		jobs <- job{func() uint64 { burn(call.seconds); return 0 }, make(chan uint64, 1)}
	}
}

func beat(first, until time.Time, period time.Duration) (late []float64) {
	for next := first; next.Before(until); next = next.Add(period) {
		time.Sleep(time.Until(next))
		late = append(late, float64(time.Since(next)))
	}
	return
}

func ticker(call call) {
	began := time.Now()
	compute(call, computations)
	printLate(beat(began.Add(time.Millisecond), began.Add(time.Duration(call.seconds*1e9)), time.Millisecond))
}

func beats(call call) {
	began := time.Now().Add(100 * time.Millisecond)
	until := began.Add(time.Duration(call.seconds * 1e9))
	late := make([][]float64, beaters)
	var all sync.WaitGroup
	all.Add(beaters)
	for i := range late {
		go func(i int) {
			late[i] = beat(began.Add(time.Duration(i)*100*time.Millisecond/beaters), until, 100*time.Millisecond)
			all.Done()
		}(i)
	}
	time.Sleep(time.Until(began))
	compute(call, call.workers)
	all.Wait()
	var together []float64
	for _, some := range late {
		together = append(together, some...)
	}
	printLate(together)
}

func crash(call call) {
	jobs := openPool(call.workers, 1)
	one := job{func() uint64 { C.work_crash(); return 0 }, make(chan uint64, 1)}
	jobs <- one
	<-one.answer
}
