// SPDX-License-Identifier: MIT

// sleepers fire COUNT LEAD_MS | hold COUNT: the same with goroutines.
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func cpu() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func resident() int64 {
	var total, pages int64
	text, _ := os.ReadFile("/proc/self/statm")
	fmt.Sscan(string(text), &total, &pages)
	return pages * int64(os.Getpagesize())
}

func measureFire(count int, lead time.Duration) {
	began, cpuBegan := time.Now(), cpu()
	late := make([]float64, count)
	var lastStart atomic.Int64
	var all sync.WaitGroup
	all.Add(count)
	for i := 0; i < count; i++ {
		go func(i int) {
			due := began.Add(lead + time.Duration(i*61803%count)*10*time.Microsecond)
			lastStart.Store(time.Since(began).Nanoseconds())
			time.Sleep(time.Until(due))
			late[i] = float64(time.Since(due).Nanoseconds()) / 1e6
			all.Done()
		}(i)
	}
	all.Wait()
	fmt.Printf("cpu_ms %.2f\nstarted_ms %.1f\n", float64(cpu()-cpuBegan)/1e6, float64(lastStart.Load())/1e6)
	sort.Float64s(late)
	fmt.Printf("late_min_ms %.4f\nlate_p50_ms %.4f\n", late[0], late[count/2])
	fmt.Printf("late_p99_ms %.4f\nlate_max_ms %.4f\n", late[count*99/100], late[count-1])
}

func measureHold(count int) {
	before, cpuBegan := resident(), cpu()
	var started sync.WaitGroup
	started.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			started.Done()
			time.Sleep(time.Hour)
		}()
	}
	started.Wait()
	fmt.Printf("cpu_ns %.1f\nbytes %.1f\n", float64(cpu()-cpuBegan)/float64(count), float64(resident()-before)/float64(count))
}

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	if os.Args[1] == "fire" {
		lead, _ := strconv.Atoi(os.Args[3])
		measureFire(count, time.Duration(lead)*time.Millisecond)
		return
	}
	measureHold(count)
}
