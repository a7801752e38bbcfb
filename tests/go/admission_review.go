// The answers of an admission webhook, a line each, read as an API server reads them: by Kubernetes's own types, strictly.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	admission "k8s.io/api/admission/v1"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var review admission.AdmissionReview
		decoder := json.NewDecoder(strings.NewReader(lines.Text()))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&review); err != nil || review.Response == nil {
			fmt.Fprintln(os.Stderr, "not an answer:", err)
			os.Exit(1)
		}
		var patch []map[string]any
		if review.Response.Patch != nil {
			if err := json.Unmarshal(review.Response.Patch, &patch); err != nil || *review.Response.PatchType != admission.PatchTypeJSONPatch {
				fmt.Fprintln(os.Stderr, "not a patch:", err)
				os.Exit(1)
			}
		}
		fmt.Println(review.APIVersion, review.Kind, review.Response.UID, review.Response.Allowed, len(patch) > 0, len(review.Response.Warnings) > 0)
	}
}
