package qmp

import (
	"encoding/json"
	"errors"
	"fmt"

	gqmp "github.com/digitalocean/go-qemu/qmp"
)

// request is a QMP command with its members still encoded, so that members
// this package knows nothing of pass through unchanged.
type request map[string]json.RawMessage

// parseRequest reads a command that a caller wrote.
func parseRequest(command []byte) (request, error) {
	var req request
	if err := json.Unmarshal(command, &req); err != nil {
		return nil, fmt.Errorf("qmp: the command is not a JSON object: %w", err)
	}
	if req["execute"] == nil && req["exec-oob"] == nil {
		return nil, errors.New(`qmp: the command has no "execute"`)
	}
	return req, nil
}

// newRequest builds a command from its name and arguments.
func newRequest(command string, args any) (request, error) {
	name, err := json.Marshal(command)
	if err != nil {
		return nil, fmt.Errorf("qmp: command name: %w", err)
	}
	req := request{"execute": name}
	if args == nil {
		return req, nil
	}
	if req["arguments"], err = json.Marshal(args); err != nil {
		return nil, fmt.Errorf("qmp: %s: cannot encode the arguments: %w", command, err)
	}
	return req, nil
}

// name is the command's name, for error messages.
func (r request) name() string {
	var name string
	if json.Unmarshal(r["execute"], &name) == nil {
		return name
	}
	if json.Unmarshal(r["exec-oob"], &name) == nil {
		return name
	}
	return "command"
}

// frame encodes the request under id, ending in a newline. The id is a string
// because StratoVirt accepts no other type.
func (r request) frame(id string) ([]byte, error) {
	out := make(request, len(r)+1)
	for k, v := range r {
		out[k] = v
	}
	out["id"], _ = json.Marshal(id) // a string always encodes
	frame, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the command: %w", err)
	}
	return append(frame, '\n'), nil
}

// restoreID puts the caller's id back into a reply, or takes ours out.
func restoreID(raw, own json.RawMessage, had bool) ([]byte, error) {
	var reply request
	if err := json.Unmarshal(raw, &reply); err != nil {
		return nil, fmt.Errorf("qmp: reply: %w", err)
	}
	if had {
		reply["id"] = own
	} else {
		delete(reply, "id")
	}
	return json.Marshal(reply)
}

// message is anything that a VMM sends. Which member is present tells its
// kind; raw is the whole of it and shares memory with nothing.
type message struct {
	Greeting *struct {
		Version gqmp.Version `json:"version"`
	} `json:"QMP"`
	Event  *string         `json:"event"`
	ID     json.RawMessage `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`

	raw json.RawMessage
}

// parseMessage reads one message and keeps raw in it.
func parseMessage(raw json.RawMessage) (message, error) {
	msg := message{raw: raw}
	if err := json.Unmarshal(raw, &msg); err != nil {
		return msg, fmt.Errorf("%w: %w", errNotQMP, err)
	}
	return msg, nil
}

// isReply tells whether the message answers a command.
func (m message) isReply() bool {
	return m.Return != nil || m.Error != nil
}

// id is the request id that a reply carries, or "" if it is not one that this
// package sends.
func (m message) id() string {
	var id string
	if json.Unmarshal(m.ID, &id) != nil {
		return ""
	}
	return id
}

// fault is the *Error of an error reply to the named command. The mere
// presence of the member counts: StratoVirt leaves the description empty.
func (m message) fault(command string) error {
	if m.Error == nil {
		return nil
	}
	return &Error{Class: m.Error.Class, Desc: m.Error.Desc, Command: command}
}
