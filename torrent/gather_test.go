package torrent

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"testing"
)

// metadataMessage is a piece as BEP 9 sends it.
func metadataMessage(piece, total int, data []byte) []byte {
	return append(fmt.Appendf(nil, "d8:msg_typei1e5:piecei%de10:total_sizei%dee", piece, total), data...)
}

// TestGather: a peer that lies about a piece, or about how many there are, only makes
// the rest be sent again.
func TestGather(t *testing.T) {
	t.Parallel()
	raw := content(metadataPiece + 100)
	out := make(chan []byte, 1)
	g := &gathered{h: sha1.Sum(raw), out: out}
	first, last := raw[:metadataPiece], raw[metadataPiece:]
	g.take(metadataMessage(0, len(raw), make([]byte, metadataPiece)))
	g.take(metadataMessage(1, len(raw), last))
	g.take(metadataMessage(0, len(raw), first))
	g.take(metadataMessage(0, 1, []byte("x")))
	g.take(metadataMessage(1, len(raw), last))
	if len(out) != 0 {
		t.Fatal("something came out of a lie")
	}
	g.take(metadataMessage(0, len(raw), first))
	if len(out) != 1 || !bytes.Equal(<-out, raw) {
		t.Error("not what was sent")
	}
}

// FuzzGather: from messages of any kind nothing comes but what has the infohash, and no
// more is held than was promised. Each message is as long as two octets in front say.
func FuzzGather(f *testing.F) {
	raw := []byte("d4:name1:ae")
	msg := metadataMessage(0, len(raw), raw)
	f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	for _, m := range []string{"d8:msg_typei1e5:piecei-1e10:total_sizei11eex", "d8:msg_typei1e5:piecei4611686018427387904e10:total_sizei9223372036854775807eex", "d8:msg_typei1e10:total_sizei16384eex", "de", ""} {
		f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := make(chan []byte, 1)
		g := &gathered{h: sha1.Sum(raw), out: out}
		for len(in) >= 2 {
			n := min(int(binary.BigEndian.Uint16(in)), len(in)-2)
			g.take(in[2 : 2+n])
			in = in[2+n:]
			held := 0
			for _, p := range g.pieces {
				held += len(p)
			}
			if g.total > 0 && held > g.total {
				t.Fatalf("%d octets are held of %d", held, g.total)
			}
		}
		select {
		case got := <-out:
			if !bytes.Equal(got, raw) {
				t.Fatalf("%q came out", got)
			}
		default:
		}
	})
}
