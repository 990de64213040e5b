package submission

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	textunicode "golang.org/x/text/encoding/unicode"

	"virtlab/harness/result"
)

// MaxText is how much of a log or a table is read unless there is reason for
// more: a kernel's log has some hundred KiB.
const MaxText = 16 << 20

// ReadText reads a student's text as UTF-8 with Unix line ends. It may come in
// UTF-8 or UTF-16 (what PowerShell's > writes), with or without byte order
// mark, or in GBK. A file of more than max bytes is an error of the submission,
// any other error is the host's. Bytes that mean nothing become U+FFFD.
func ReadText(path string, max int64) (string, error) {
	data, err := readHead(path, max+1)
	if err != nil {
		return "", fmt.Errorf("reading a text: %w", err)
	}
	if int64(len(data)) > max {
		return "", result.Errorf(result.Submission, "%s is longer than %d bytes", shown(filepath.Base(path)), max).
			WithHint("hand in the part of it that matters")
	}
	return decode(data), nil
}

// readHead reads at most n bytes.
func readHead(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

var (
	bomUTF8  = []byte("\xef\xbb\xbf")
	bomLE    = []byte("\xff\xfe")
	bomBE    = []byte("\xfe\xff")
	newlines = strings.NewReplacer("\r\n", "\n")
)

// decode makes UTF-8 of a text in an encoding to be guessed.
func decode(data []byte) string {
	switch {
	case bytes.HasPrefix(data, bomUTF8):
		data = data[len(bomUTF8):]
	case bytes.HasPrefix(data, bomLE), bytes.HasPrefix(data, bomBE):
		return newlines.Replace(decodeUTF16(data, textunicode.LittleEndian, textunicode.UseBOM))
	case zeros(data, 1):
		return newlines.Replace(decodeUTF16(data, textunicode.LittleEndian, textunicode.IgnoreBOM))
	case zeros(data, 0):
		return newlines.Replace(decodeUTF16(data, textunicode.BigEndian, textunicode.IgnoreBOM))
	}
	switch {
	case utf8.Valid(data):
		return newlines.Replace(string(data))
	case isGBK(data):
		return newlines.Replace(decodeWith(simplifiedchinese.GB18030, data))
	}
	return newlines.Replace(strings.ToValidUTF8(string(data), string(utf8.RuneError)))
}

func decodeUTF16(data []byte, order textunicode.Endianness, bom textunicode.BOMPolicy) string {
	return decodeWith(textunicode.UTF16(order, bom), data)
}

// decodeWith cannot fail: what means nothing is replaced.
func decodeWith(e encoding.Encoding, data []byte) string {
	out, err := e.NewDecoder().Bytes(data)
	if err != nil {
		return strings.ToValidUTF8(string(data), string(utf8.RuneError))
	}
	return strings.ToValidUTF8(string(out), string(utf8.RuneError))
}

// zeros says whether every other byte, from the given one on, is mostly zero
// and the others are not: ASCII in UTF-16 without a byte order mark.
func zeros(data []byte, from int) bool {
	data = data[:min(len(data), 4096)]
	zero, other := 0, 0
	for i, b := range data {
		switch {
		case b == 0 && i%2 == from:
			zero++
		case b == 0:
			other++
		}
	}
	return zero > 2 && zero*10 >= len(data)/2*8 && other == 0
}

// isGBK tells GBK from UTF-8. A stray byte in UTF-8, as interleaved consoles
// leave it, must not make GBK of it, which would swallow the letter behind.
func isGBK(data []byte) bool {
	wide, broken := 0, 0
	for rest := data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			broken++
		case n > 1:
			wide++
		}
		rest = rest[n:]
	}
	return broken > wide && hanziShare(data) >= 0.7
}

// hanziShare is how many of the bytes above 0x7f belong to two-byte characters
// of GB 2312, the part of GBK that people write in.
func hanziShare(data []byte) float64 {
	high, paired := 0, 0
	for i := 0; i < len(data); i++ {
		if data[i] < 0x80 {
			continue
		}
		high++
		if i+1 < len(data) && 0xa1 <= data[i] && data[i] <= 0xf7 && data[i+1] >= 0xa1 {
			high, paired = high+1, paired+2
			i++
		}
	}
	return float64(paired) / float64(max(high, 1))
}

// isText says whether decoded content is something to read.
func isText(s string) bool {
	strange, all := 0, 0
	for _, r := range s[:min(len(s), 64<<10)] {
		all++
		if r == utf8.RuneError || r < ' ' && !strings.ContainsRune("\n\r\t\f\v\b\x1b", r) {
			strange++
		}
	}
	return strange*20 <= all
}
