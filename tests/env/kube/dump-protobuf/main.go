// Writes how the kinds that Waft serves look as protobuf: for each message its fields by number, with
// their JSON names and what encoding/json would do with their zero values. Taken from the struct tags
// of k8s.io/api, because the .proto files don't say which fields are pointers or inline.
//
//	cd tests/env/kube && go run ./dump-protobuf > ../../../crates/apimachinery/data/dump/protobuf.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var roots = map[string]any{
	"v1 Namespace": corev1.Namespace{}, "v1 ConfigMap": corev1.ConfigMap{}, "v1 Secret": corev1.Secret{},
	"v1 Service": corev1.Service{}, "v1 ServiceAccount": corev1.ServiceAccount{}, "v1 Event": corev1.Event{},
	"v1 Pod": corev1.Pod{}, "v1 Node": corev1.Node{}, "v1 DeleteOptions": metav1.DeleteOptions{},
	"apps/v1 Deployment": appsv1.Deployment{}, "apps/v1 ReplicaSet": appsv1.ReplicaSet{},
	"apps/v1 StatefulSet": appsv1.StatefulSet{}, "apps/v1 DaemonSet": appsv1.DaemonSet{},
	"batch/v1 Job": batchv1.Job{}, "coordination.k8s.io/v1 Lease": coordinationv1.Lease{},
	"events.k8s.io/v1 Event": eventsv1.Event{}, "autoscaling/v1 Scale": autoscalingv1.Scale{},
	"authorization.k8s.io/v1 SelfSubjectAccessReview": authorizationv1.SelfSubjectAccessReview{},
	"authorization.k8s.io/v1 SelfSubjectRulesReview":  authorizationv1.SelfSubjectRulesReview{},
	"authorization.k8s.io/v1 SubjectAccessReview":     authorizationv1.SubjectAccessReview{},
	"authentication.k8s.io/v1 SelfSubjectReview":      authenticationv1.SelfSubjectReview{},
	"v1 Endpoints":                                                     corev1.Endpoints{},
	"v1 PersistentVolumeClaim":                                         corev1.PersistentVolumeClaim{},
	"v1 PersistentVolume":                                              corev1.PersistentVolume{},
	"v1 ResourceQuota":                                                 corev1.ResourceQuota{},
	"v1 LimitRange":                                                    corev1.LimitRange{},
	"v1 PodTemplate":                                                   corev1.PodTemplate{},
	"v1 ReplicationController":                                         corev1.ReplicationController{},
	"apps/v1 ControllerRevision":                                       appsv1.ControllerRevision{},
	"batch/v1 CronJob":                                                 batchv1.CronJob{},
	"discovery.k8s.io/v1 EndpointSlice":                                discoveryv1.EndpointSlice{},
	"rbac.authorization.k8s.io/v1 Role":                                rbacv1.Role{},
	"rbac.authorization.k8s.io/v1 RoleBinding":                         rbacv1.RoleBinding{},
	"rbac.authorization.k8s.io/v1 ClusterRole":                         rbacv1.ClusterRole{},
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding":                  rbacv1.ClusterRoleBinding{},
	"autoscaling/v2 HorizontalPodAutoscaler":                           autoscalingv2.HorizontalPodAutoscaler{},
	"networking.k8s.io/v1 Ingress":                                     networkingv1.Ingress{},
	"networking.k8s.io/v1 IngressClass":                                networkingv1.IngressClass{},
	"networking.k8s.io/v1 NetworkPolicy":                               networkingv1.NetworkPolicy{},
	"policy/v1 PodDisruptionBudget":                                    policyv1.PodDisruptionBudget{},
	"policy/v1 Eviction":                                               policyv1.Eviction{},
	"scheduling.k8s.io/v1 PriorityClass":                               schedulingv1.PriorityClass{},
	"storage.k8s.io/v1 StorageClass":                                   storagev1.StorageClass{},
	"admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration":   admissionregistrationv1.ValidatingWebhookConfiguration{},
	"admissionregistration.k8s.io/v1 MutatingWebhookConfiguration":     admissionregistrationv1.MutatingWebhookConfiguration{},
	"admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy":        admissionregistrationv1.ValidatingAdmissionPolicy{},
	"admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding": admissionregistrationv1.ValidatingAdmissionPolicyBinding{},
	"authorization.k8s.io/v1 LocalSubjectAccessReview":                 authorizationv1.LocalSubjectAccessReview{},
	"authentication.k8s.io/v1 TokenReview":                             authenticationv1.TokenReview{},
	"authentication.k8s.io/v1 TokenRequest":                            authenticationv1.TokenRequest{},
}

// A field: JSON name ("" for inline), type, and whether a zero value is left out or absent is null.
type field struct {
	Name  string `json:"name,omitempty"`
	Type  string `json:"type"`
	List  bool   `json:"list,omitempty"`
	Map   bool   `json:"map,omitempty"`
	Keep  bool   `json:"keep,omitempty"`  // present although zero: a pointer, or not omitempty
	Empty bool   `json:"empty,omitempty"` // written even when absent: not omitempty
}

var messages = map[string]map[string]field{}

func typeName(t reflect.Type) string {
	switch name := t.PkgPath() + "." + t.Name(); name {
	case "k8s.io/apimachinery/pkg/apis/meta/v1.Time":
		return "time"
	case "k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":
		return "microtime"
	case "k8s.io/apimachinery/pkg/api/resource.Quantity":
		return "quantity"
	case "k8s.io/apimachinery/pkg/util/intstr.IntOrString":
		return "intorstring"
	case "k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1", "k8s.io/apimachinery/pkg/runtime.RawExtension":
		return "raw"
	case "k8s.io/apimachinery/pkg/apis/meta/v1.Duration":
		return "duration"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "int"
	case reflect.Struct:
		visit(t)
		return "#" + short(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		// A named list is a message around its items.
		visit(t)
		return "#" + short(t)
	}
	panic(fmt.Sprint("no form for ", t))
}

func short(t reflect.Type) string {
	path := strings.Split(t.PkgPath(), "/")
	return path[len(path)-2] + "." + t.Name()
}

func visit(t reflect.Type) {
	name := short(t)
	if _, seen := messages[name]; seen {
		return
	}
	fields := map[string]field{}
	messages[name] = fields
	if t.Kind() == reflect.Slice {
		fields["1"] = field{Name: "*", Type: typeName(t.Elem()), List: true}
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		proto := strings.Split(f.Tag.Get("protobuf"), ",")
		jsonTag := strings.Split(f.Tag.Get("json"), ",")
		if len(proto) < 2 || jsonTag[0] == "-" {
			continue
		}
		omit := false
		for _, option := range jsonTag[1:] {
			omit = omit || option == "omitempty" || option == "omitzero"
		}
		out := field{Name: jsonTag[0], Keep: !omit, Empty: !omit}
		if f.Anonymous && jsonTag[0] == "" {
			out = field{}
		}
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft, out.Keep, out.Empty = ft.Elem(), true, false
		}
		named := ft.PkgPath() != "" && len(proto) > 2 && proto[2] != "rep"
		switch {
		case ft.Kind() == reflect.Map:
			out.Map, out.Empty = true, false
			ft = ft.Elem()
			out.Type = typeName(ft)
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() != reflect.Uint8 && !named:
			out.List, out.Empty = true, false
			ft = ft.Elem()
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			out.Type = typeName(ft)
		default:
			out.Type = typeName(ft)
			// encoding/json never leaves a struct out.
			if ft.Kind() == reflect.Struct && f.Type.Kind() != reflect.Pointer {
				out.Keep = true
			}
		}
		fields[proto[1]] = out
	}
}

func main() {
	kinds := map[string]string{}
	for name, value := range roots {
		kinds[name] = typeName(reflect.TypeOf(value))[1:]
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]any{"kinds": kinds, "messages": messages}); err != nil {
		panic(err)
	}
}
