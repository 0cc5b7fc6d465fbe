// SPDX-License-Identifier: MIT

// tasks switch|spawn|channel COUNT [TASKS]: the same with goroutines, on one core and so one P.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func cpu() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func measureSwitch(count, tasks int) {
	var all sync.WaitGroup
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for turn := 0; turn < count/tasks; turn++ {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	all.Wait()
}

func measureSpawn(count, _ int) {
	var one sync.WaitGroup
	for i := 0; i < count; i++ {
		one.Add(1)
		go one.Done()
		one.Wait()
	}
}

func measureChannel(count, _ int) {
	there, back := make(chan int), make(chan int)
	go func() {
		for value := range there {
			back <- value
		}
	}()
	for i := 0; i < count; i++ {
		there <- i
		<-back
	}
	close(there)
}

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	tasks := 2
	if len(os.Args) > 3 {
		tasks, _ = strconv.Atoi(os.Args[3])
	}
	run := map[string]func(int, int){"switch": measureSwitch, "spawn": measureSpawn, "channel": measureChannel}[os.Args[1]]
	run(count/10, tasks)
	began, cpuBegan := time.Now(), cpu()
	run(count, tasks)
	fmt.Printf("cpu_ns %.3f\nwall_ns %.3f\n", float64(cpu()-cpuBegan)/float64(count),
		float64(time.Since(began).Nanoseconds())/float64(count))
}
