package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryRoom(t *testing.T) {
	const meminfo = "MemTotal:       24641536 kB\nMemFree:        24000000 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known": {nil, 0},
		"the machine":   {map[string]string{"proc/meminfo": "MemTotal:          61440 kB\n", "proc/self/cgroup": "0::/\n"}, 60 << 20},
		"version 2, a limit further up": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/litfass.service\n",
			"sys/fs/cgroup/system.slice/litfass.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "67108864\n"}, 64 << 20},
		"version 1 beside 2": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/box\n1:cpu:/\n0::/\n",
			"sys/fs/cgroup/memory/box/memory.limit_in_bytes": "50331648\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 48 << 20},
		"a container that shows its own group as the root": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n"}, 64 << 20},
		"unreadable": {map[string]string{"proc/meminfo": "x\nMemTotal: many kB\n", "proc/self/cgroup": "nonsense\n::\n"}, 0},
	} {
		root := t.TempDir()
		for f, text := range c.files {
			f = filepath.Join(root, f)
			if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := memoryRoom(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	for room, want := range map[int64]int64{0: heapLimit, 64 << 20: 24 << 20, 32 << 20: 16 << 20, 24 << 30: heapLimit} {
		if got := heapLimitOf(room); got != want {
			t.Errorf("heap of a room of %d: %d, want %d", room, got, want)
		}
	}
}
