package job

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// A frame travels as lines of ASCII, so that it passes through every VMM's
// console (gokvm's prints a byte from 0x80 on as two bytes of UTF-8) and a
// person can see it go by:
//
//	@vl NAME SEQ/N BASE64 CRC32
//
// N lines make a frame. With a z behind N its data is deflated (RFC 1951): where
// KVM is emulated a line costs gokvm's guests half a second. The checksum (IEEE,
// eight hex digits) of a line covers NAME, SEQ/N and BASE64 of all the frame's
// lines up to this one: a line that comes from another frame of that name does
// not fit.
const (
	frameMark = "@vl "
	noData    = "-" // stands for BASE64 of nothing
	packed    = "z"
	// lineData is how many bytes of data a line carries. It is below 450 bytes with
	// them: gokvm's serial port stalls after 512 that come at once.
	lineData    = 300
	maxLines    = 1<<13 - 1 // 2.4 MB of data: more is a mistake, or an attack
	maxName     = 16
	checksumLen = 8
)

// Encode writes f to w by a single Write, between which and itself no other
// program gets its words onto a terminal.
func Encode(w io.Writer, f Frame) error {
	if !isName(f.Name) {
		return fmt.Errorf("encoding a frame: its name %q is not 1 to %d small letters", f.Name, maxName)
	}
	if len(f.Data) > maxLines*lineData {
		return fmt.Errorf("encoding a %s frame: %d bytes are more than the %d that a frame can have", f.Name, len(f.Data), maxLines*lineData)
	}
	var b bytes.Buffer
	var sum uint32
	for _, p := range cut(f) {
		sum = crc32.Update(sum, crc32.IEEETable, []byte(p.text()))
		fmt.Fprintf(&b, "%s%s %0*x\n", frameMark, p.text(), checksumLen, sum)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing a %s frame: %w", f.Name, err)
	}
	return nil
}

// cut makes a frame's lines.
func cut(f Frame) []part {
	data, deflated := f.Data, false
	// A deflater takes a megabyte of the guest's memory: not for a short frame.
	if len(data) > lineData {
		if d := deflate(data); len(d) < len(data) {
			data, deflated = d, true
		}
	}
	n := max(1, (len(data)+lineData-1)/lineData)
	parts := make([]part, n)
	for i := range parts {
		p := part{name: f.Name, seq: i + 1, n: n, deflated: deflated, data: noData}
		if piece := data[i*lineData : min((i+1)*lineData, len(data))]; len(piece) > 0 {
			p.data = base64.StdEncoding.EncodeToString(piece)
		}
		parts[i] = p
	}
	return parts
}

func deflate(data []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression) // fails for a level that there is not
	_, _ = w.Write(data)                                  // a Buffer takes all
	_ = w.Close()
	return b.Bytes()
}

// inflate undoes deflate. A few bytes can become very many: what is more than a
// frame is refused.
func inflate(data []byte) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), maxLines*lineData+1))
	if err == nil && len(b) > maxLines*lineData {
		err = fmt.Errorf("more than %d bytes", maxLines*lineData)
	}
	return b, err
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

// part is a frame's line.
type part struct {
	name      string
	seq, n    int
	deflated  bool // the frame's data, before it was cut
	data, sum string
}

// text is what the checksum covers.
func (p part) text() string {
	flag := ""
	if p.deflated {
		flag = packed
	}
	return fmt.Sprintf("%s %d/%d%s %s", p.name, p.seq, p.n, flag, p.data)
}

// parsePart reads what follows frameMark. Behind the checksum may stand what the
// kernel printed before the line's end came.
func parsePart(s string) (p part, ok bool) {
	f := strings.SplitN(s, " ", 4)
	if len(f) < 4 || len(f[3]) < checksumLen {
		return part{}, false
	}
	seq, n, _ := strings.Cut(f[1], "/")
	n, deflated := strings.CutSuffix(n, packed)
	p = part{name: f[0], seq: ordinal(seq), n: ordinal(n), deflated: deflated, data: f[2], sum: f[3][:checksumLen]}
	return p, isName(p.name) && 0 < p.seq && p.seq <= p.n && p.n <= maxLines
}

// ordinal is a number as Encode writes it; 0 is none.
func ordinal(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s {
		return 0
	}
	return n
}

// decode gives the bytes that a line carries.
func (p part) decode() ([]byte, error) {
	if p.data == noData {
		return nil, nil
	}
	return base64.StdEncoding.Strict().DecodeString(p.data)
}

// Decoder puts frames together from the lines of a console. The zero Decoder is
// ready for use.
type Decoder struct {
	want part // name, number and flag of the line that comes next; no name: any frame's first
	sum  uint32
	data []byte
}

// Line takes the next line of the console, with its line end or without, and
// returns the frame that it completes. Text that is no frame's, and kernel
// messages around a frame's line, are passed over (nil, nil). An error says that
// a frame is lost: a line of it is missing or damaged. The Decoder can go on.
func (d *Decoder) Line(line string) (*Frame, error) {
	_, rest, found := strings.Cut(line, frameMark)
	if !found {
		return nil, nil
	}
	p, ok := parsePart(rest)
	switch {
	case strings.Contains(rest, frameMark):
		return nil, d.damaged("a line end is missing", line)
	case !ok:
		return nil, d.damaged("not NAME SEQ/N BASE64 CRC32", line)
	case p.seq == 1 && d.want.name != "":
		return nil, d.damaged(fmt.Sprintf("line %d of %d of the %s frame before is missing", d.want.seq, d.want.n, d.want.name), line)
	case p.seq == 1:
		*d = Decoder{data: d.data[:0]}
	case p.name != d.want.name || p.n != d.want.n || p.seq != d.want.seq || p.deflated != d.want.deflated:
		return nil, d.damaged("a line before it is missing", line)
	}
	f, err := d.add(p)
	if err != nil {
		return nil, d.damaged(err.Error(), line)
	}
	return f, nil
}

// add takes the line that was expected.
func (d *Decoder) add(p part) (*Frame, error) {
	d.sum = crc32.Update(d.sum, crc32.IEEETable, []byte(p.text()))
	if p.sum != fmt.Sprintf("%0*x", checksumLen, d.sum) {
		return nil, errors.New("its checksum does not fit")
	}
	data, err := p.decode()
	if err != nil {
		return nil, err
	}
	d.data = append(d.data, data...)
	if p.seq < p.n {
		d.want = part{name: p.name, seq: p.seq + 1, n: p.n, deflated: p.deflated}
		return nil, nil
	}
	f := &Frame{Name: p.name, Data: bytes.Clone(d.data)}
	if p.deflated {
		f.Data, err = inflate(d.data)
	}
	*d = Decoder{data: d.data[:0]}
	return f, err
}

// damaged gives the frame up.
func (d *Decoder) damaged(why, line string) error {
	*d = Decoder{data: d.data[:0]}
	return fmt.Errorf("the console is damaged: %s: %q", why, strings.TrimRight(line, "\r\n"))
}
