package pki

import (
	"crypto/ed25519"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// wordList is the English list of BIP 39: 2,048 words in alphabetic order, of
// which four letters tell each.
//
//go:embed words.txt
var wordList string

// Words writes a seed as 24 words (BIP 39: 256 bits and 8 of their SHA-256, 11 a word).
func Words(seed [32]byte) []string {
	list := strings.Fields(wordList)
	sum := sha256.Sum256(seed[:])
	bits := append(append([]byte(nil), seed[:]...), sum[0])
	out := make([]string, 24)
	for i := range out {
		n := 0
		for b := i * 11; b < i*11+11; b++ {
			n = n<<1 | int(bits[b/8]>>(7-b%8)&1)
		}
		out[i] = list[n]
	}
	return out
}

// ParseWords reads what Words wrote: case and spacing do not matter, and four
// letters of a word are enough. Its error says which word is wrong.
func ParseWords(text string) (seed [32]byte, err error) {
	list := strings.Fields(wordList)
	words := strings.Fields(strings.ToLower(text))
	if len(words) != 24 {
		return seed, fmt.Errorf("there are %d words, the recovery words are 24", len(words))
	}
	var bits [33]byte
	for i, w := range words {
		n, ok := slices.BinarySearch(list, w)
		if !ok && len(w) >= 4 && n < len(list) && strings.HasPrefix(list[n], w[:4]) {
			ok = true
		}
		if !ok {
			return seed, fmt.Errorf("word %d, %q, is not one of the recovery words: look for a slip of the pen", i+1, w)
		}
		for b := range 11 {
			if n>>(10-b)&1 == 1 {
				at := i*11 + b
				bits[at/8] |= 1 << (7 - at%8)
			}
		}
	}
	copy(seed[:], bits[:32])
	if sum := sha256.Sum256(seed[:]); sum[0] != bits[32] {
		return [32]byte{}, errors.New("each word is one of the list, but together they are not right: one is wrong or two are swapped")
	}
	return seed, nil
}

// recoveryPolicy is the policy of one printed key.
func recoveryPolicy(seed [32]byte) (ed25519.PrivateKey, *Policy) {
	key := ed25519.NewKeyFromSeed(seed[:])
	return key, &Policy{M: 1, Keys: []Key{KeyOf(key)}}
}
