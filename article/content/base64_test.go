package content

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzBase64: however the octets come, the lines have 76 octets but for the last, each
// ends with CRLF, and they decode to the octets.
func FuzzBase64(f *testing.F) {
	f.Add([]byte(nil), uint8(1))
	f.Add(bytes.Repeat([]byte{7}, 57), uint8(57)) // one full line
	f.Add(bytes.Repeat([]byte{0xff}, 200), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var out bytes.Buffer
		w := NewBase64(&out)
		for rest := b; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(out.String(), "\r\n")
		if last := lines[len(lines)-1]; last != "" {
			t.Fatalf("%q does not end its line", last)
		}
		for i, l := range lines[:len(lines)-1] {
			if len(l) != 78 && i < len(lines)-2 || len(l) > 78 || len(l) < 6 {
				t.Fatalf("line %d: %q", i, l)
			}
		}
		got, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(out.String(), "\r\n", ""))
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x %v, want %x", got, err, b)
		}
	})
}
