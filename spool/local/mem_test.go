package local

import (
	"context"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestMemory prints what an idle spool of 20,000 articles holds; run it with -v.
func TestMemory(t *testing.T) {
	if os.Getenv("LITFASS_TEST_ALL") == "" {
		t.Skip("prints figures; set LITFASS_TEST_ALL")
	}
	s := open(t, Config{Dir: t.TempDir()})
	s.putGroupsBench()
	var a, b syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &a)
	fill(t, s, 0, 20_000, 128, 2500)
	syscall.Getrusage(syscall.RUSAGE_SELF, &b)
	print := func(what string) {
		st, _ := os.ReadFile("/proc/self/status")
		for _, l := range strings.Split(string(st), "\n") {
			if strings.HasPrefix(l, "RssAnon") || strings.HasPrefix(l, "VmRSS") {
				t.Log(what, l)
			}
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Log(what, "heap in use", m.HeapInuse>>10, "KiB; alloc", m.HeapAlloc>>10, "released", m.HeapReleased>>10)
	}
	print("after intake")
	s.exclusive(context.Background(), s.flush)
	runtime.GC()
	print("after gc")
	cpu := func(r syscall.Rusage) int64 { return (r.Utime.Nano() + r.Stime.Nano()) / 20_000 }
	t.Log("CPU ns per article, making it included:", cpu(b)-cpu(a))
}
