package spill

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestBuffer(t *testing.T) {
	for _, size := range []int{0, 1, 10, 11, 1000} {
		b := New(t.TempDir(), 10, 1000)
		want := bytes.Repeat([]byte("x0y"), size)[:size]
		for rest := want; len(rest) > 0; {
			n := min(7, len(rest))
			if _, err := b.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		for range 2 {
			if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, want) || b.Size() != int64(size) {
				t.Fatalf("size %d: %v, %d octets", size, err, len(got))
			}
			if _, err := b.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Write(make([]byte, 1001-size)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("over the limit: %v", err)
		}
		if (b.file != nil) != (size > 10) {
			t.Errorf("size %d: in a file: %v", size, b.file != nil)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
