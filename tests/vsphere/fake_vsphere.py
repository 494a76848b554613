#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause

"""A vCenter or an ESXi host, as far as the tests need one.

    fake_vsphere.py DIR [--esx] [--inventory FILE] [--nfc HOST:PORT:SHA1]
                        [--user U --password P] [--listen ADDRESS:PORT]

DIR is a work folder: the certificate (cert.pem) and the journal (journal,
one JSON object a line) are put there, and each datastore is a folder
DIR/ds/NAME.  Once it is ready, one line is printed:

    ready PORT SHA1 SHA256

It runs until its standard input is closed, so that it cannot outlive a test.

POST /control takes a JSON object and changes how it behaves; each key is a
method of class Control.  GET /state shows what it knows.  Neither needs a
login: this is no server for anything but tests.

What is decided here about undocumented calls is our reading of public facts;
a test against it proves nothing about real servers.
"""

import argparse
import copy
import hashlib
import http.server
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape, quoteattr

VIM = "urn:vim25"
INTERNAL = "urn:internalvim25"
MIB = 1 << 20

ENVELOPE = ('<?xml version="1.0" encoding="UTF-8"?>\n'
            '<soapenv:Envelope'
            ' xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
            ' xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            '<soapenv:Body>%s</soapenv:Body></soapenv:Envelope>')

DEFAULT_INVENTORY = {
    "datacenters": [
        {"id": "datacenter-2", "name": "DC0"},
        {"id": "datacenter-3", "name": "DC1", "folder": "F0"},
    ],
    "datastores": [
        {"id": "datastore-10", "name": "ds1", "datacenter": "DC0",
         "url": "ds:///vmfs/volumes/5a1b-ds1/"},
        {"id": "datastore-11", "name": "ds [old] 2", "datacenter": "DC0",
         "url": "ds:///vmfs/volumes/5a1b-ds2/"},
        {"id": "datastore-12", "name": "ds3", "datacenter": "DC1",
         "url": "ds:///vmfs/volumes/5a1b-ds3/"},
    ],
    "hosts": [
        {"id": "host-20", "name": "esx1.example.com", "datacenter": "DC0"},
    ],
    "vms": [
        {"id": "vm-57", "name": "web", "datacenter": "DC0", "folder": "prod",
         "uuid": "42010203-0405-0607-0809-0a0b0c0d0e0f",
         "instanceUuid": "50010203-0405-0607-0809-0a0b0c0d0e0f",
         "power": "poweredOff", "host": "host-20", "cbt": True,
         "datastores": ["ds1", "ds [old] 2"],
         "disks": [
             {"key": 2000, "label": "Hard disk 1", "capacity": 64 * MIB,
              "chain": ["[ds1] web/web-000001.vmdk", "[ds1] web/web.vmdk"],
              "changeId": "52 a1 b2/7"},
             {"key": 2001, "label": "Hard disk 2", "capacity": 8 * MIB,
              "chain": ["[ds [old] 2] web/data.vmdk"], "type": "SeSparse",
              "mode": "independent_persistent"},
             {"key": 2002, "label": "Hard disk 3", "capacity": 8 * MIB,
              "chain": ["[ds1] web/raw.vmdk"],
              "type": "RawDiskMappingVer1",
              "compatibilityMode": "physicalMode"},
         ]},
        {"id": "vm-58", "name": "twin", "datacenter": "DC0", "folder": "a",
         "uuid": "42010203-0405-0607-0809-0a0b0c0d0eff",
         "instanceUuid": "50010203-0405-0607-0809-000000000058",
         "power": "poweredOn", "host": "host-20", "datastores": ["ds1"],
         "disks": [{"key": 2000, "label": "Hard disk 1",
                    "capacity": 16 * MIB, "chain": ["[ds1] twin/a.vmdk"]}]},
        {"id": "vm-59", "name": "twin", "datacenter": "DC1",
         "uuid": "42010203-0405-0607-0809-0a0b0c0d0eff",
         "instanceUuid": "50010203-0405-0607-0809-000000000059",
         "power": "poweredOff", "host": "host-20", "datastores": ["ds3"],
         "disks": [{"key": 2000, "label": "Hard disk 1",
                    "capacity": 16 * MIB, "chain": ["[ds3] twin/b.vmdk"]}]},
    ],
}


class Fault(Exception):
    """What becomes a SOAP fault, of TYPE, with FIELDS in it."""

    def __init__(self, kind, message="", **fields):
        super().__init__(kind)
        self.kind, self.message, self.fields = kind, message, fields

    def fields_xml(self):
        return "".join(element(k, v) for k, v in self.fields.items())


# ---------------------------------------------------------------------------
# XML, out and in.

def element(name, text):
    if isinstance(text, Ref):
        return text.xml(name)
    if isinstance(text, bool):
        text = "true" if text else "false"
    return "<%s>%s</%s>" % (name, escape(str(text)), name)


class Ref:
    def __init__(self, kind, ident):
        self.kind, self.ident = kind, ident

    def xml(self, name):
        return "<%s type=%s>%s</%s>" % (name, quoteattr(self.kind),
                                        escape(self.ident), name)


def value_xml(value):
    """A property's value, with its type."""
    if isinstance(value, Typed):
        return '<val xsi:type="%s">%s</val>' % (value.kind, value.inner)
    if isinstance(value, Ref):
        return ('<val xsi:type="ManagedObjectReference" type=%s>%s</val>'
                % (quoteattr(value.kind), escape(value.ident)))
    if isinstance(value, bool):
        return ('<val xsi:type="xsd:boolean">%s</val>'
                % ("true" if value else "false"))
    if isinstance(value, int):
        return '<val xsi:type="xsd:int">%d</val>' % value
    if isinstance(value, list) and value and isinstance(value[0], Ref):
        return ('<val xsi:type="ArrayOfManagedObjectReference">%s</val>'
                % "".join(v.xml("ManagedObjectReference") for v in value))
    if isinstance(value, list):
        return ('<val xsi:type="ArrayOfString">%s</val>'
                % "".join(element("string", v) for v in value))
    return '<val xsi:type="xsd:string">%s</val>' % escape(str(value))


class Typed:
    def __init__(self, kind, inner):
        self.kind, self.inner = kind, inner


class Request:
    """The body's child of a request: names without namespaces."""

    def __init__(self, node):
        self.node = node

    @staticmethod
    def local(node):
        return node.tag.rpartition("}")[2]

    @property
    def method(self):
        return self.local(self.node)

    @property
    def space(self):
        return self.node.tag[1:].partition("}")[0]

    def all(self, name):
        return [Request(c) for c in self.node if self.local(c) == name]

    def get(self, name):
        return (self.all(name) or [None])[0]

    def text(self, name, default=None):
        found = self.get(name)
        return default if found is None else (found.node.text or "")

    def names(self):
        return [self.local(c) for c in self.node]


# ---------------------------------------------------------------------------
# What there is.

class World:
    """The inventory and everything that calls change; guarded by one lock."""

    def __init__(self, options, work):
        self.lock = threading.RLock()
        self.esx = options.esx
        self.user, self.password = options.user, options.password
        self.work = work
        self.nfc = options.nfc
        self.inventory = copy.deepcopy(DEFAULT_INVENTORY)
        if options.inventory:
            with open(options.inventory, encoding="utf-8") as file:
                self.inventory = json.load(file)
        if self.esx:
            self.make_host()
        for datastore in self.inventory["datastores"]:
            os.makedirs(self.folder_of(datastore["name"]), exist_ok=True)
        self.sessions = {}
        self.disabled = []      # PrepareForAccess
        self.snapshots = {}     # id -> dict
        self.tasks = {}         # id -> dict
        self.pages = {}         # token -> the rest of an answer
        self.views = {}
        self.disks = {}         # "[ds] path" -> dict, made by calls
        self.counter = 100
        self.rules = []         # see Control.fault
        self.switches = {
            "apiVersion": "6.7.3", "pageSize": 0, "taskPolls": 1,
            "autoFinish": False,        # tasks are done when they begin
            "sameSource": "accept",     # or "fault"
            "internalForm": 0,          # 0, 1, 2: which form is understood
            "noPrivilege": "",          # or the fault's type
            "relocating": 0,            # how often a migration is still seen
            "areaCalls": 3, "quiesceFails": False, "folderLogin": True,
            "serviceVersions": True, "journalFolder": False,
            "noDestSpec": False,        # CopyVirtualDisk takes no wishes
            "copyFails": False,         # half-way
        }
        self.journal_file = open(os.path.join(work, "journal"), "a",
                                 encoding="utf-8")
        self.sequence = 0

    def make_host(self):
        """An ESXi host has one datacenter, and ids of its own."""
        data = self.inventory
        data["datacenters"] = [{"id": "ha-datacenter",
                                "name": "ha-datacenter"}]
        for kind in ("datastores", "hosts", "vms"):
            for item in data[kind]:
                item["datacenter"] = "ha-datacenter"
                item.pop("folder", None)
        data["vms"] = [v for v in data["vms"] if v["id"] != "vm-59"]
        for datastore in data["datastores"]:
            datastore["url"] = datastore["url"].rstrip("/").replace("ds://",
                                                                    "")

    def journal(self, event, **fields):
        with self.lock:
            self.sequence += 1
            line = dict(seq=self.sequence, event=event, **fields)
            self.journal_file.write(json.dumps(line) + "\n")
            self.journal_file.flush()

    def new_id(self, kind):
        self.counter += 1
        return "%s-%d" % (kind, self.counter)

    def service_ids(self):
        if self.esx:
            return {"rootFolder": ("Folder", "ha-folder-root"),
                    "propertyCollector": ("PropertyCollector",
                                          "ha-property-collector"),
                    "viewManager": ("ViewManager", "ViewManager"),
                    "sessionManager": ("SessionManager", "ha-sessionmgr"),
                    "authorizationManager": ("AuthorizationManager",
                                             "ha-authmgr"),
                    "searchIndex": ("SearchIndex", "ha-searchindex"),
                    "fileManager": ("FileManager", "ha-nfc-file-manager"),
                    "virtualDiskManager": ("VirtualDiskManager",
                                           "ha-vdiskmanager")}
        return {"rootFolder": ("Folder", "group-d1"),
                "propertyCollector": ("PropertyCollector",
                                      "propertyCollector"),
                "viewManager": ("ViewManager", "ViewManager"),
                "sessionManager": ("SessionManager", "SessionManager"),
                "authorizationManager": ("AuthorizationManager",
                                         "AuthorizationManager"),
                "searchIndex": ("SearchIndex", "SearchIndex"),
                "fileManager": ("FileManager", "FileManager"),
                "virtualDiskManager": ("VirtualDiskManager",
                                       "virtualDiskManager")}

    # --- the tree of folders -------------------------------------------

    def find(self, kind, ident):
        for item in self.inventory[kind]:
            if item["id"] == ident:
                return item
        return None

    def datacenter(self, name):
        return next(d for d in self.inventory["datacenters"]
                    if d["name"] == name)

    def folder_of(self, datastore):
        return os.path.join(self.work, "ds", datastore.replace("/", "_"))

    def objects(self):
        """Everything with a place: id -> (type, name, parent's id)."""
        root = self.service_ids()["rootFolder"][1]
        tree = {root: ("Folder", "Datacenters", None)}
        for dc in self.inventory["datacenters"]:
            parent = root
            if dc.get("folder"):
                parent = "group-d-" + dc["folder"]
                tree[parent] = ("Folder", dc["folder"], root)
            tree[dc["id"]] = ("Datacenter", dc["name"], parent)
            for hidden in ("vm", "host", "datastore"):
                tree["group-%s-%s" % (hidden, dc["name"])] = (
                    "Folder", hidden, dc["id"])
        for kind, hidden, collection in (
                ("VirtualMachine", "vm", "vms"),
                ("HostSystem", "host", "hosts"),
                ("Datastore", "datastore", "datastores")):
            for item in self.inventory[collection]:
                parent = "group-%s-%s" % (hidden, item["datacenter"])
                if item.get("folder"):
                    folder = "%s/%s" % (parent, item["folder"])
                    tree[folder] = ("Folder", item["folder"], parent)
                    parent = folder
                tree[item["id"]] = (kind, item["name"], parent)
        return tree

    def inventory_path(self, ident):
        tree, names = self.objects(), []
        while tree[ident][2]:
            names.insert(0, tree[ident][1])
            ident = tree[ident][2]
        return "/".join(names)

    # --- properties ----------------------------------------------------

    def properties(self, kind, ident):
        """All properties that an object has, or None for no such object."""
        if kind == "VirtualMachineSnapshot":
            snapshot = self.snapshots.get(ident)
            return snapshot and {
                "config.hardware.device": self.devices(snapshot["disks"])}
        if kind == "Task":
            return self.task_properties(ident)
        place = self.objects().get(ident)
        if not place or place[0] != kind:
            return None
        values = {"name": place[1]}
        if place[2]:
            values["parent"] = Ref(self.objects()[place[2]][0], place[2])
        if kind == "VirtualMachine":
            values.update(self.vm_properties(self.find("vms", ident)))
        if kind == "Datastore":
            datastore = self.find("datastores", ident)
            values.update({"summary.url": datastore["url"],
                           "summary.name": place[1],
                           "summary.type": datastore.get("type", "VMFS"),
                           "summary.accessible": True})
        if kind == "HostSystem":
            host = self.find("hosts", ident)
            values.update({
                "runtime.connectionState": host.get("state", "connected"),
                "summary.config.sslThumbprint":
                    host.get("thumbprint", self.thumbprint)})
            if host.get("manager"):
                values["summary.managementServerIp"] = host["manager"]
        return values

    def vm_properties(self, vm):
        values = {
            "config.uuid": vm["uuid"],
            "config.instanceUuid": vm["instanceUuid"],
            "config.files.vmPathName": "[%s] %s/%s.vmx" % (
                vm["datastores"][0], vm["name"], vm["name"]),
            "config.changeTrackingEnabled": bool(vm.get("cbt")),
            "config.template": bool(vm.get("template")),
            "runtime.powerState": vm["power"],
            "runtime.connectionState": vm.get("state", "connected"),
            "runtime.host": Ref("HostSystem", vm["host"]),
            "runtime.consolidationNeeded": bool(vm.get("consolidate")),
            "config.hardware.device": self.devices(vm["disks"]),
            "datastore": [Ref("Datastore", d["id"])
                          for d in self.inventory["datastores"]
                          if d["name"] in vm["datastores"]],
            "disabledMethod": sorted({m["method"] for m in self.disabled
                                      if m["vm"] == vm["id"]}
                                     | {"PowerOffVM_Task"}),
            "recentTask": self.recent_tasks(vm),
        }
        if vm.get("keyId"):
            values["config.keyId"] = vm["keyId"]
        if any(s["vm"] == vm["id"] for s in self.snapshots.values()):
            values["snapshot"] = self.snapshot_tree(vm)
        return values

    def recent_tasks(self, vm):
        if self.switches["relocating"] > 0:
            self.tasks["task-relocate"] = {
                "state": "running", "polls": 1 << 30, "result": None,
                "description": "VirtualMachine.relocate"}
            return [Ref("Task", "task-relocate")]
        return []

    def snapshot_tree(self, vm):
        inner, current = "", ""
        for ident, snapshot in self.snapshots.items():
            if snapshot["vm"] != vm["id"]:
                continue
            current = ident
            inner += ("<rootSnapshotList>%s%s%s%s%s%s%s%s"
                      "</rootSnapshotList>") % (
                Ref("VirtualMachineSnapshot", ident).xml("snapshot"),
                Ref("VirtualMachine", vm["id"]).xml("vm"),
                element("name", snapshot["name"]),
                element("description", snapshot["description"]),
                element("id", 1),
                element("createTime", "2024-01-01T00:00:00Z"),
                element("state", "poweredOff"),
                element("quiesced", snapshot["quiesced"]))
        return Typed("VirtualMachineSnapshotInfo",
                     Ref("VirtualMachineSnapshot", current).xml(
                         "currentSnapshot") + inner)

    def backing(self, disk, links, name="backing"):
        kind = "VirtualDisk%sBackingInfo" % disk.get("type", "FlatVer2")
        inner = element("fileName", links[0])
        store = re.match(r"\[(.*?)\] ", links[0])
        for datastore in self.inventory["datastores"]:
            if links[0].startswith("[%s] " % datastore["name"]):
                inner += Ref("Datastore", datastore["id"]).xml("datastore")
        if disk.get("backingObjectId") and store:
            inner += element("backingObjectId", disk["backingObjectId"])
        if "compatibilityMode" in disk:
            inner += element("compatibilityMode", disk["compatibilityMode"])
        inner += element("diskMode", disk.get("mode", "persistent"))
        inner += element("uuid", disk.get(
            "uuid", "6000C29a-bbcc-ddee-ff00-%012d" % disk["key"]))
        inner += element("contentId", "%032x" % (disk["key"] + len(links)))
        if disk.get("changeId") and len(links) == len(disk["chain"]):
            inner += element("changeId", disk["changeId"])
        if len(links) > 1:
            inner += self.backing(disk, links[1:], "parent")
        return '<%s xsi:type="%s">%s</%s>' % (name, kind, inner, name)

    def devices(self, disks):
        inner = ('<VirtualDevice xsi:type="VirtualLsiLogicController">'
                 '<key>1000</key><busNumber>0</busNumber></VirtualDevice>')
        for unit, disk in enumerate(disks):
            inner += ('<VirtualDevice xsi:type="VirtualDisk">%s'
                      '<deviceInfo>%s</deviceInfo>%s%s%s%s%s'
                      '</VirtualDevice>') % (
                element("key", disk["key"]), element("label", disk["label"]),
                self.backing(disk, disk["chain"]),
                element("controllerKey", 1000), element("unitNumber", unit),
                element("capacityInKB", disk["capacity"] // 1024),
                element("capacityInBytes", disk["capacity"]))
        return Typed("ArrayOfVirtualDevice", inner)

    # --- tasks ---------------------------------------------------------

    def start_task(self, action, description, result=None):
        """ACTION runs when the task has been looked at often enough."""
        ident = self.new_id("task")
        self.tasks[ident] = {"state": "running", "action": action,
                             "polls": self.switches["taskPolls"],
                             "asked": 0, "description": description,
                             "result": result}
        if self.switches["autoFinish"]:
            self.finish_task(self.tasks[ident])
        return Ref("Task", ident)

    def task_properties(self, ident):
        task = self.tasks.get(ident)
        if task is None:
            return None
        if ident == "task-relocate":
            self.switches["relocating"] -= 1
            if self.switches["relocating"] <= 0:
                task["state"] = "success"
        elif task["state"] == "running":
            task["asked"] += 1
            if task.get("cancelled"):
                task["state"] = "error"
                task["error"] = Fault("RequestCanceled", "canceled")
            elif task["asked"] >= task["polls"]:
                self.finish_task(task)
        return self.task_xml(ident, task)

    def finish_task(self, task):
        try:
            task["result"] = task["action"]()
            task["state"] = "success"
        except Fault as fault:
            task["state"], task["error"] = "error", fault

    def task_xml(self, ident, task):
        inner = (element("key", ident) + Ref("Task", ident).xml("task")
                 + element("descriptionId", task["description"])
                 + element("state", task["state"])
                 + element("cancelled", False) + element("cancelable", True))
        if task["state"] == "error":
            fault = task["error"]
            inner += ('<error><fault xsi:type="%s">%s</fault>'
                      '<localizedMessage>%s</localizedMessage></error>') % (
                fault.kind, fault.fields_xml(), escape(fault.message))
        if task["state"] == "success" and isinstance(task["result"], Ref):
            inner += ('<result xsi:type="ManagedObjectReference" type="%s">'
                      '%s</result>') % (task["result"].kind,
                                        escape(task["result"].ident))
        if task["state"] == "running":
            inner += element("progress",
                             min(99, 100 * task.get("asked", 0)
                                 // max(1, task["polls"])))
        return {"info": Typed("TaskInfo", inner)}


# ---------------------------------------------------------------------------
# The methods: each takes the request and the session, and gives the inner
# XML of its response.

class Methods:
    def __init__(self, world):
        self.world = world

    def call(self, request, session):
        method = getattr(self, request.method, None)
        if method is None:
            raise Fault("InvalidRequest", "no type defined for '%s'"
                        % request.method)
        open_to_all = ("RetrieveServiceContent", "Login")
        if session is None and request.method not in open_to_all:
            raise Fault("NotAuthenticated", "The session is not "
                        "authenticated.", privilegeId="System.View")
        if request.names()[:1] != ["_this"]:
            raise Fault("InvalidRequest", "_this is not first")
        return method(request, session)

    @staticmethod
    def returned(inner):
        return "<returnval>%s</returnval>" % inner

    # --- service and session ---------------------------------------------

    def RetrieveServiceContent(self, request, session):
        world = self.world
        inner = "".join(Ref(*world.service_ids()[n]).xml(n)
                        for n in ("rootFolder", "propertyCollector",
                                  "viewManager"))
        about = [("name", "VMware fake"), ("fullName", "VMware fake 6.7"),
                 ("version", "6.7.0"), ("build", "1"),
                 ("productLineId", "embeddedEsx" if world.esx else "vpx"),
                 ("apiType", "HostAgent" if world.esx else "VirtualCenter"),
                 ("apiVersion", world.switches["apiVersion"])]
        if not world.esx:
            about.append(("instanceUuid", "a-b-c-d"))
        inner += "<about>%s</about>" % "".join(element(*a) for a in about)
        inner += "".join(Ref(*world.service_ids()[n]).xml(n)
                         for n in ("sessionManager", "authorizationManager",
                                   "virtualDiskManager", "fileManager",
                                   "searchIndex"))
        return self.returned(inner)

    def RetrieveInternalContent(self, request, session):
        ident = "ha-nfc-service" if self.world.esx else "nfcService"
        return self.returned(Ref("DiagnosticManager", "x").xml("other")
                             + Ref("NfcService", ident).xml("nfcService"))

    def Login(self, request, session):
        world = self.world
        if session is not None:
            raise Fault("InvalidLogin", "already logged in")
        user, password = request.text("userName"), request.text("password")
        if (user, password) != (world.user, world.password):
            world.journal("login-refused", user=user)
            raise Fault("InvalidLogin", "Cannot complete login with "
                        + (password or ""))
        key = str(uuid.uuid4())
        world.sessions[key] = {"user": user}
        world.journal("login", user=user, session=key)
        self.new_cookie = '"%s"' % key
        return self.returned(element("key", key) + element("userName", user))

    def Logout(self, request, session):
        world = self.world
        del world.sessions[session]
        world.disabled = [m for m in world.disabled
                          if not (m["scope"] and m["session"] == session)]
        world.journal("logout", session=session)
        return ""

    def CurrentTime(self, request, session):
        self.world.journal("current-time")
        return "<returnval>2024-01-01T00:00:00Z</returnval>"

    # --- NFC tickets -----------------------------------------------------

    def ticket(self, request, kind):
        world = self.world
        vm = request.text("vm")
        if not world.find("vms", vm):
            raise Fault("ManagedObjectNotFound", "gone",
                        obj=Ref("VirtualMachine", vm or ""))
        if not world.nfc:
            raise Fault("NotSupported", "no NFC here")
        host, port, thumbprint = world.nfc
        # of the shape that fake_nfc.py takes
        ticket = ("ticket-rw-" if kind == "NfcRandomAccessOpenDisk"
                  else "ticket-") + uuid.uuid4().hex
        world.journal("ticket", method=kind, vm=vm, ticket=ticket,
                      key=request.text("diskDeviceKey"))
        inner = "" if world.esx else element("host", host)
        inner += element("port", port) + element("sslThumbprint", thumbprint)
        inner += element("service", "nfc" if world.esx else "vpxa-nfc")
        inner += element("serviceVersion", "1.1")
        return self.returned(inner + element("sessionId", ticket))

    def NfcGetVmFiles(self, request, session):
        return self.ticket(request, "NfcGetVmFiles")

    def NfcRandomAccessOpenReadonly(self, request, session):
        return self.ticket(request, "NfcRandomAccessOpenReadonly")

    def NfcRandomAccessOpenDisk(self, request, session):
        return self.ticket(request, "NfcRandomAccessOpenDisk")

    # --- search ----------------------------------------------------------

    def FindByInventoryPath(self, request, session):
        wanted = request.text("inventoryPath", "").strip("/")
        for ident, (kind, _, _) in self.world.objects().items():
            if self.world.inventory_path(ident) == wanted:
                return Ref(kind, ident).xml("returnval")
        return ""

    def find_uuid(self, request):
        key = ("instanceUuid" if request.text("instanceUuid") == "true"
               else "uuid")
        return [Ref("VirtualMachine", v["id"])
                for v in self.world.inventory["vms"]
                if v[key].lower() == request.text("uuid", "").lower()]

    def FindByUuid(self, request, session):
        return "".join(r.xml("returnval")
                       for r in self.find_uuid(request)[:1])

    def FindAllByUuid(self, request, session):
        return "".join(r.xml("returnval") for r in self.find_uuid(request))

    # --- properties ------------------------------------------------------

    def CreateContainerView(self, request, session):
        ident = "session[%s]%s" % (uuid.uuid4(), uuid.uuid4())
        kinds = [k.node.text for k in request.all("type")]
        self.world.views[ident] = kinds
        return Ref("ContainerView", ident).xml("returnval")

    def DestroyView(self, request, session):
        self.world.views.pop(request.text("_this"), None)
        return ""

    def selected(self, spec):
        """The objects that an objectSet selects."""
        for chosen in spec.all("objectSet"):
            reference = chosen.get("obj").node
            kind, ident = reference.get("type"), reference.text
            if kind == "ContainerView":
                kinds = self.world.views.get(ident)
                if kinds is None:
                    raise Fault("ManagedObjectNotFound", "no such view",
                                obj=Ref(kind, ident))
                for found, place in list(self.world.objects().items()):
                    if place[0] in kinds:
                        yield place[0], found
            else:
                yield kind, ident

    def content(self, spec, kind, ident):
        values = self.world.properties(kind, ident)
        if values is None:
            raise Fault("ManagedObjectNotFound",
                        "The object has already been deleted",
                        obj=Ref(kind, ident))
        inner = Ref(kind, ident).xml("obj")
        for wanted in spec.all("propSet"):
            if wanted.text("type") != kind:
                continue
            for path in wanted.all("pathSet"):
                name = path.node.text
                if name in values:
                    inner += "<propSet>%s%s</propSet>" % (
                        element("name", name), value_xml(values[name]))
        return inner

    def retrieve(self, request):
        return [self.content(spec, kind, ident)
                for spec in request.all("specSet")
                for kind, ident in self.selected(spec)]

    def page(self, objects):
        size = self.world.switches["pageSize"] or len(objects)
        inner = ""
        if len(objects) > size:
            token = self.world.new_id("token")
            self.world.pages[token] = objects[size:]
            inner = element("token", token)
        inner += "".join("<objects>%s</objects>" % o
                         for o in objects[:size])
        return self.returned(inner) if objects else ""

    def RetrieveProperties(self, request, session):
        return "".join(self.returned(o) for o in self.retrieve(request))

    def RetrievePropertiesEx(self, request, session):
        if request.get("options") is None:
            raise Fault("InvalidRequest", "options is required")
        return self.page(self.retrieve(request))

    def ContinueRetrievePropertiesEx(self, request, session):
        rest = self.world.pages.pop(request.text("token"), None)
        if rest is None:
            raise Fault("InvalidArgument", invalidProperty="token")
        return self.page(rest)

    def CancelRetrievePropertiesEx(self, request, session):
        self.world.pages.pop(request.text("token"), None)
        return ""

    def CancelTask(self, request, session):
        task = self.world.tasks.get(request.text("_this"))
        if task is None:
            raise Fault("ManagedObjectNotFound")
        task["cancelled"] = True
        self.world.journal("cancel-task", task=request.text("_this"))
        return ""

    # --- access ----------------------------------------------------------

    def check_form(self, request):
        """Which of the known forms of the internal calls is understood."""
        form = self.world.switches["internalForm"]
        action = self.action.strip('"').partition("/")[0]
        sent = (2 if request.space == VIM
                else 1 if action == INTERNAL else 0)
        if sent != form:
            raise Fault("InvalidRequest", "no type defined for '%s'"
                        % request.method)
        if self.world.esx:
            raise Fault("NotSupported", "not a vCenter")

    def DisableMethods(self, request, session):
        world = self.world
        self.check_form(request)
        names = request.names()
        if names[:4] != ["_this", "entity", "method", "sourceId"]:
            raise Fault("InvalidRequest", "order of elements")
        if world.switches["noPrivilege"]:
            raise Fault(world.switches["noPrivilege"],
                        privilegeId="Global.DisableMethods")
        source = request.text("sourceId")
        entry = {"vm": request.text("entity"), "source": source,
                 "reason": request.get("method").text("reasonId", ""),
                 "method": request.get("method").text("method"),
                 "scope": request.text("sessionScope") == "true",
                 "session": session}
        if entry["method"] != "RelocateVM_Task":
            raise Fault("InvalidArgument", invalidProperty="method")
        for other in world.disabled:
            if (other["vm"], other["method"]) != (entry["vm"],
                                                  entry["method"]):
                continue
            if (other["source"] != source
                    or world.switches["sameSource"] == "fault"):
                raise Fault("MethodAlreadyDisabledFault",
                            sourceId=other["source"])
            world.disabled.remove(other)
            break
        world.disabled.append(entry)
        world.journal("disable", vm=entry["vm"], source=source,
                      method=entry["method"], reason=entry["reason"])
        return ""

    def EnableMethods(self, request, session):
        world = self.world
        self.check_form(request)
        vm, source = request.text("entity"), request.text("sourceId")
        before = len(world.disabled)
        world.disabled = [
            m for m in world.disabled
            if not (m["vm"] == vm and m["method"] == request.text("method")
                    and source in (None, m["source"]))]
        world.journal("enable", vm=vm, source=source,
                      method=request.text("method"),
                      freed=before - len(world.disabled))
        return ""

    def RelocateVM_Task(self, request, session):
        for entry in self.world.disabled:
            if entry["vm"] == request.text("_this"):
                raise Fault("MethodDisabled", source=entry["source"])
        return self.world.start_task(lambda: None,
                                     "VirtualMachine.relocate").xml(
                                         "returnval")

    # --- snapshots and changed areas -------------------------------------

    def vm_of(self, request):
        vm = self.world.find("vms", request.text("_this"))
        if vm is None:
            raise Fault("ManagedObjectNotFound",
                        obj=Ref("VirtualMachine", request.text("_this")))
        return vm

    @staticmethod
    def is_frozen(disk):
        """Whether snapshots take the disk in."""
        return (not disk.get("mode", "").startswith("independent")
                and disk.get("compatibilityMode") != "physicalMode")

    def CreateSnapshot_Task(self, request, session):
        world, vm = self.world, self.vm_of(request)
        quiesce = request.text("quiesce") == "true"
        name = request.text("name")
        description = request.text("description", "")

        def act():
            if quiesce and world.switches["quiesceFails"]:
                raise Fault("ApplicationQuiesceFault", "VSS says no")
            ident = world.new_id("snapshot")
            frozen = [d for d in copy.deepcopy(vm["disks"])
                      if self.is_frozen(d)]
            world.snapshots[ident] = {
                "vm": vm["id"], "name": name, "description": description,
                "quiesced": quiesce, "disks": frozen}
            for disk in filter(self.is_frozen, vm["disks"]):
                base = disk["chain"][-1][:-5]
                disk["chain"].insert(0, "%s-%06d.vmdk"
                                     % (base, len(disk["chain"])))
            world.journal("snapshot-created", vm=vm["id"], snapshot=ident,
                          quiesced=quiesce)
            return Ref("VirtualMachineSnapshot", ident)

        return world.start_task(act, "VirtualMachine.createSnapshot").xml(
            "returnval")

    def RemoveSnapshot_Task(self, request, session):
        world, ident = self.world, request.text("_this")
        if ident not in world.snapshots:
            raise Fault("ManagedObjectNotFound",
                        obj=Ref("VirtualMachineSnapshot", ident))

        def act():
            snapshot = world.snapshots.pop(ident)
            for disk in filter(self.is_frozen,
                               world.find("vms", snapshot["vm"])["disks"]):
                disk["chain"].pop(0)
            world.journal("snapshot-removed", vm=snapshot["vm"],
                          snapshot=ident)

        return world.start_task(act, "VirtualMachineSnapshot.remove").xml(
            "returnval")

    def ConsolidateVMDisks_Task(self, request, session):
        vm = self.vm_of(request)

        def act():
            vm["consolidate"] = False
            self.world.journal("consolidated", vm=vm["id"])

        return self.world.start_task(act, "VirtualMachine.consolidate").xml(
            "returnval")

    def QueryChangedDiskAreas(self, request, session):
        vm = self.vm_of(request)
        key = int(request.text("deviceKey"))
        disk = next((d for d in vm["disks"] if d["key"] == key), None)
        start = int(request.text("startOffset"))
        if disk is None:
            raise Fault("NotFound")
        if not vm.get("cbt"):
            raise Fault("FileFault", file=disk["chain"][0])
        if start >= disk["capacity"]:
            raise Fault("InvalidArgument", invalidProperty="startOffset")
        if request.text("changeId") not in ("*", disk.get("changeId")):
            raise Fault("InvalidArgument", invalidProperty="changeId")
        step = disk["capacity"] // self.world.switches["areaCalls"]
        step = max(65536, step // 65536 * 65536)
        length = min(step, disk["capacity"] - start)
        area = element("start", start) + element("length",
                                                 min(65536, length))
        return self.returned(element("startOffset", start)
                             + element("length", length)
                             + "<changedArea>%s</changedArea>" % area)

    # --- files and disks -------------------------------------------------

    def local_path(self, name):
        """Where "[ds] path" lies here."""
        for datastore in self.world.inventory["datastores"]:
            prefix = "[%s] " % datastore["name"]
            if name.startswith(prefix):
                folder = self.world.folder_of(datastore["name"])
                path = os.path.normpath(os.path.join(folder,
                                                     name[len(prefix):]))
                if not path.startswith(folder + os.sep):
                    break
                return path
        raise Fault("InvalidDatastorePath", datastorePath=name)

    def need_datacenter(self, request, name="datacenter"):
        if not self.world.esx and request.get(name) is None:
            raise Fault("InvalidArgument", "A specified parameter was not "
                        "correct: " + name, invalidProperty=name)

    def disk_task(self, request, what, act):
        """A VirtualDiskManager task; the journal says when it is done."""
        def run():
            result = act()
            self.world.journal(
                what, name=request.text("name") or request.text("sourceName"))
            return result
        return self.world.start_task(run, "VirtualDiskManager." + what).xml(
            "returnval")

    @staticmethod
    def flat_of(path):
        return path[:-5] + "-flat.vmdk"

    def existing(self, name):
        path = self.local_path(name)
        if not os.path.exists(path):
            raise Fault("FileNotFound", "File %s was not found" % name,
                        file=name)
        return path

    def write_disk(self, path, capacity):
        with open(path, "w", encoding="utf-8") as file:
            file.write('# Disk DescriptorFile\nversion=1\nCID=fffffffe\n'
                       'parentCID=ffffffff\ncreateType="vmfs"\n\n'
                       'RW %d VMFS "%s"\n\nddb.adapterType = "lsilogic"\n'
                       'ddb.virtualHWVersion = "14"\n'
                       % (capacity // 512,
                          os.path.basename(self.flat_of(path))))
        with open(self.flat_of(path), "ab") as file:
            file.truncate(capacity)

    def CreateVirtualDisk_Task(self, request, session):
        self.need_datacenter(request)
        name, spec = request.text("name"), request.get("spec")
        path = self.local_path(name)
        kind = spec.node.get(
            "{http://www.w3.org/2001/XMLSchema-instance}type", "")
        if kind.rpartition(":")[2] != "FileBackedVirtualDiskSpec":
            raise Fault("InvalidArgument", invalidProperty="spec")
        capacity = int(spec.text("capacityKb")) * 1024

        def act():
            if os.path.exists(path):
                raise Fault("FileAlreadyExists", "exists", file=name)
            if not os.path.isdir(os.path.dirname(path)):
                raise Fault("FileNotFound", "no folder", file=name)
            self.write_disk(path, capacity)

        return self.disk_task(request, "create-disk", act)

    def ExtendVirtualDisk_Task(self, request, session):
        self.need_datacenter(request)
        name = request.text("name")
        capacity = int(request.text("newCapacityKb")) * 1024

        def act():
            path = self.existing(name)
            if capacity < os.path.getsize(self.flat_of(path)):
                raise Fault("InvalidArgument",
                            invalidProperty="newCapacityKb")
            self.write_disk(path, capacity)

        return self.disk_task(request, "extend-disk", act)

    def keep_disk(self, request, what):
        self.need_datacenter(request)
        name = request.text("name")
        return self.disk_task(request, what, lambda: self.existing(name)
                              and None)

    def ShrinkVirtualDisk_Task(self, request, session):
        return self.keep_disk(request, "shrink-disk")

    def DefragmentVirtualDisk_Task(self, request, session):
        return self.keep_disk(request, "defragment-disk")

    def MoveVirtualDisk_Task(self, request, session):
        self.need_datacenter(request, "sourceDatacenter")
        source, target = request.text("sourceName"), request.text("destName")

        def act():
            old, new = self.existing(source), self.local_path(target)
            if os.path.exists(new):
                raise Fault("FileAlreadyExists", "exists", file=target)
            capacity = os.path.getsize(self.flat_of(old))
            os.rename(self.flat_of(old), self.flat_of(new))
            self.write_disk(new, capacity)
            os.unlink(old)

        return self.disk_task(request, "move-disk", act)

    @staticmethod
    def read_sparse(path):
        """What a hosted sparse disk in one file reads as, a grain at a
        time; its capacity comes first."""
        with open(path, "rb") as file:
            head = struct.unpack_from("<IIIQQQQIQQ", file.read(512))
            if head[0] != 0x564d444b:
                raise Fault("InvalidDiskFormat", path)
            capacity, grain, entries, gd = (head[3], head[4] * 512, head[7],
                                            head[9])
            yield capacity * 512
            per_table = entries * grain
            for start in range(0, capacity * 512, per_table):
                file.seek(gd * 512 + start // per_table * 4)
                table = struct.unpack("<I", file.read(4))[0]
                if table == 0:
                    continue
                file.seek(table * 512)
                places = struct.unpack("<%dI" % entries,
                                       file.read(entries * 4))
                for i, place in enumerate(places):
                    if place > 1:
                        file.seek(place * 512)
                        yield start + i * grain, file.read(grain)

    def CopyVirtualDisk_Task(self, request, session):
        self.need_datacenter(request, "sourceDatacenter")
        self.need_datacenter(request, "destDatacenter")
        source, target = request.text("sourceName"), request.text("destName")

        def act():
            old, new = self.existing(source), self.local_path(target)
            if request.get("destSpec") and self.world.switches["noDestSpec"]:
                raise Fault("NotImplemented")
            if os.path.exists(new):
                raise Fault("FileAlreadyExists", "exists", file=target)
            grains = self.read_sparse(old)
            capacity = next(grains)
            self.write_disk(new, capacity)
            with open(self.flat_of(new), "r+b") as file:
                for offset, data in grains:
                    file.seek(offset)
                    file.write(data[:capacity - offset])
            if self.world.switches["copyFails"]:
                raise Fault("NoDiskSpace", "full", file=target)
            kind = request.get("destSpec")
            self.world.journal("copied-as", type=kind.text("diskType")
                               if kind else "")

        return self.disk_task(request, "copy-disk", act)

    def DeleteVirtualDisk_Task(self, request, session):
        self.need_datacenter(request)
        name = request.text("name")

        def act():
            path = self.existing(name)
            os.unlink(path)
            if os.path.exists(self.flat_of(path)):
                os.unlink(self.flat_of(path))

        return self.disk_task(request, "delete-disk", act)

    def QueryVirtualDiskUuid(self, request, session):
        self.existing(request.text("name"))
        return ("<returnval>60 00 C2 9a aa bb cc dd-ee ff 00 11 22 33 44 55"
                "</returnval>")

    def MakeDirectory(self, request, session):
        path = self.local_path(request.text("name"))
        if os.path.isdir(path):
            raise Fault("FileAlreadyExists", file=request.text("name"))
        if request.text("createParentDirectories") == "true":
            os.makedirs(path)
        else:
            os.mkdir(path)
        return ""

    def DeleteDatastoreFile_Task(self, request, session):
        name = request.text("name")
        return self.disk_task(
            request, "delete-file",
            lambda: os.unlink(self.existing(name)))


# ---------------------------------------------------------------------------
# What a test can change while the server runs.

class Control:
    def __init__(self, world):
        self.world = world

    def fault(self, rule):
        """From the NTH call of METHOD ("*": any) on, do something COUNT times:
        DO is "fault" (with TYPE, fields in FIELDS), "status" (with STATUS),
        "slow" (SECONDS), "trickle", "garbage", "bomb", "deep", "huge",
        "html", "redirect", "close", or "late-close": the call is carried
        out, then the connection is closed without an answer."""
        self.world.rules.append(dict({"nth": 1, "count": 1, "method": "*"},
                                     **rule))

    def forget(self, _):
        self.world.rules.clear()

    def switch(self, switches):
        for name, value in switches.items():
            if name not in self.world.switches:
                raise KeyError(name)
            self.world.switches[name] = value

    def expire(self, _):
        """All sessions end, and what belonged to them."""
        self.world.sessions.clear()
        self.world.views.clear()
        self.world.pages.clear()
        self.world.disabled = [m for m in self.world.disabled
                               if not m["scope"]]

    def vm(self, change):
        """Set keys of a VM."""
        self.world.find("vms", change["id"]).update(change)

    def host(self, change):
        self.world.find("hosts", change["id"]).update(change)

    def disable(self, entry):
        """As if somebody else had disabled a method."""
        self.world.disabled.append(dict({"method": "RelocateVM_Task",
                                         "scope": False, "session": "",
                                         "reason": ""}, **entry))

    def state(self):
        world = self.world
        return {"sessions": len(world.sessions), "disabled": world.disabled,
                "snapshots": world.snapshots, "views": len(world.views),
                "pages": len(world.pages)}


# ---------------------------------------------------------------------------
# HTTP.

BOMB = ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + "".join('<!ENTITY %c "%s">' % (c, ("&%c;" % (c - 1)) * 10)
                  for c in range(ord("b"), ord("k")))
        + "]><a>&j;</a>")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world = None

    def setup(self):
        # here, in the connection's own thread, and not in accept
        if self.server.context:
            self.request = self.server.context.wrap_socket(self.request,
                                                           server_side=True)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length",
                                                        0)))
        data = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            data += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return data

    def answer(self, status, body=b"", kind="text/xml; charset=utf-8",
               **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if "Content_Length" not in headers:
            headers["Content_Length"] = len(body)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def session(self):
        match = re.search(r'vmware_soap_session="([^"]*)"',
                          self.headers.get("Cookie", ""))
        key = match and match.group(1)
        return key if key in self.world.sessions else None

    # --- the test's own -------------------------------------------------

    def control(self):
        control = Control(self.world)
        with self.world.lock:
            for name, argument in json.loads(self.body() or b"{}").items():
                getattr(control, name)(argument)
        self.answer(200, b"{}")

    def state(self):
        with self.world.lock:
            text = json.dumps(Control(self.world).state())
        self.answer(200, text.encode(), "application/json")

    # --- SOAP -------------------------------------------------------------

    def rule_for(self, method):
        for rule in self.world.rules:
            if rule["method"] not in ("*", method):
                continue
            rule["nth"] -= 1
            if rule["nth"] <= 0 and rule["count"] > 0:
                rule["count"] -= 1
                return rule
        return None

    def drop(self):
        self.close_connection = True
        self.connection.close()

    def misbehave(self, rule, request):
        """True when that was the answer."""
        what = rule["do"]
        if what == "fault":
            raise Fault(rule["type"], rule.get("message", ""),
                        **rule.get("fields", {}))
        if what == "status":
            self.answer(rule["status"], rule.get("body", "").encode())
        elif what == "slow":
            time.sleep(rule["seconds"])
            return False
        elif what == "trickle":
            self.trickle()
        elif what == "garbage":
            self.answer(200, bytes(i * 7 % 256 for i in range(5000)))
        elif what == "bomb":
            self.answer(200, BOMB.encode())
        elif what == "deep":
            self.answer(200, b"<a>" * 100000)
        elif what == "huge":
            self.huge()
        elif what == "html":
            self.answer(200, b"<html><body>Welcome<br></body></html>",
                        "text/html")
        elif what == "redirect":
            self.answer(302, Location=rule.get("location", "/sdk"))
        elif what == "close":
            self.drop()
        return what != "late-close"

    def trickle(self):
        """A byte now and then, for as long as the client listens."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"<")
                self.wfile.flush()
                time.sleep(0.2)
        except OSError:
            self.close_connection = True

    def huge(self):
        """More than anyone wants, without saying how much."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for _ in range(64):
                self.wfile.write(b"<a>" + b"x" * MIB + b"</a>")
        except OSError:
            pass
        self.close_connection = True

    def soap(self):
        world, bytes_in = self.world, self.body()
        cookie, drop = None, False
        try:
            root = ElementTree.fromstring(bytes_in)
            body = [c for c in root if Request.local(c) == "Body"]
            request = Request(body[0][0])
            with world.lock:
                rule = self.rule_for(request.method)
            if rule:
                drop = rule["do"] == "late-close"
                if self.misbehave(rule, request):
                    return
            with world.lock:
                methods = Methods(world)
                methods.action = self.headers.get("SOAPAction", "")
                methods.new_cookie = None
                inner = methods.call(request, self.session())
                cookie = methods.new_cookie
            status = 200
            text = '<%sResponse xmlns="%s">%s</%sResponse>' % (
                request.method, VIM, inner, request.method)
        except Fault as fault:
            status, text = 500, self.fault_xml(fault)
        except (ElementTree.ParseError, IndexError):
            status, text = 500, self.fault_xml(Fault("InvalidRequest"))
        if drop:
            self.drop()
            return
        headers = {}
        if cookie:
            headers["Set_Cookie"] = ("vmware_soap_session=%s; Path=/; "
                                     "HttpOnly; Secure;" % cookie)
        self.answer(status, (ENVELOPE % text).encode(), **headers)

    @staticmethod
    def fault_xml(fault):
        return ('<soapenv:Fault><faultcode>ServerFaultCode</faultcode>'
                '<faultstring>%s</faultstring><detail>'
                '<%sFault xmlns="urn:vim25" xsi:type="%s">%s</%sFault>'
                '</detail></soapenv:Fault>') % (
            escape(fault.message), fault.kind, fault.kind,
            fault.fields_xml(), fault.kind)

    # --- /folder ----------------------------------------------------------

    def folder_path(self):
        """The local file that is asked for, or None once answered."""
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query)
        store = query.get("dsName", [""])[0]
        centre = query.get("dcPath", [None])[0]
        path = urllib.parse.unquote(parts.path[len("/folder"):])
        if self.world.switches["folderLogin"] and self.session() is None:
            self.answer(401)
            return None
        known = [d for d in self.world.inventory["datastores"]
                 if d["name"] == store]
        if not known or ".." in path.split("/"):
            self.answer(404)
            return None
        home = self.world.inventory_path(
            self.world.datacenter(known[0]["datacenter"])["id"])
        if not self.world.esx and centre != home:
            self.answer(404)
            return None
        return os.path.join(self.world.folder_of(store), path.lstrip("/"))

    def folder(self):
        rule = None
        with self.world.lock:
            rule = self.rule_for("/folder")
            if self.world.switches["journalFolder"]:
                self.world.journal("folder", method=self.command,
                                   path=self.path,
                                   range=self.headers.get("Range"))
        try:
            if rule and rule["do"] == "status" and self.command == "PUT":
                self.body()
            if rule and self.misbehave(rule, None):
                return
        except Fault:
            self.answer(500, b"<html>locked</html>", "text/html")
            return
        path = self.folder_path()
        if path is None:
            return
        if self.command == "PUT":
            self.put_file(path)
        elif not os.path.isfile(path):
            self.answer(404)
        elif self.command == "DELETE":
            os.unlink(path)
            self.answer(200)
        else:
            self.get_file(path)

    def put_file(self, path):
        data = self.body()
        existed = os.path.exists(path)
        with open(path, "wb") as file:
            file.write(data)
        self.answer(200 if existed else 201)

    def get_file(self, path):
        size = os.path.getsize(path)
        kind = "application/octet-stream"
        match = re.fullmatch(r"bytes=(\d+)-(\d*)",
                             self.headers.get("Range", ""))
        if not match:
            if self.command == "HEAD":
                self.answer(200, b"", kind, Content_Length=size,
                            Accept_Ranges="bytes")
                return
            with open(path, "rb") as file:
                self.answer(200, file.read(), kind)
            return
        first = int(match.group(1))
        last = min(int(match.group(2) or size - 1), size - 1)
        if first >= size or last < first:
            self.answer(416, Content_Range="bytes */%d" % size)
            return
        with open(path, "rb") as file:
            file.seek(first)
            data = file.read(last - first + 1)
        self.answer(206, data, kind,
                    Content_Range="bytes %d-%d/%d" % (first, last, size))

    # --- which is it ------------------------------------------------------

    def dispatch(self):
        try:
            if self.path == "/control":
                self.control()
            elif self.path == "/state":
                self.state()
            elif self.path.startswith("/folder/"):
                self.folder()
            elif self.path == "/sdk" and self.command == "POST":
                self.soap()
            else:
                self.body()
                self.answer(404)
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = dispatch


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context = None

    def handle_error(self, request, client_address):
        kind = sys.exc_info()[0]
        # clients that do not like our certificate, or have heard enough
        if not issubclass(kind, (OSError, ValueError)):
            super().handle_error(request, client_address)


def make_certificate(work):
    """A certificate for localhost; its thumbprints."""
    cert, key = os.path.join(work, "cert.pem"), os.path.join(work, "key.pem")
    if not os.path.exists(cert):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
             "-keyout", key, "-out", cert, "-days", "30", "-subj",
             "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, stderr=subprocess.DEVNULL)
    with open(cert, encoding="ascii") as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())

    def pairs(digest):
        text = digest(der).hexdigest().upper()
        return ":".join(text[i:i + 2] for i in range(0, len(text), 2))

    return cert, key, pairs(hashlib.sha1), pairs(hashlib.sha256)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--esx", action="store_true")
    parser.add_argument("--plain", action="store_true", help="no TLS")
    parser.add_argument("--inventory")
    parser.add_argument("--public-folder", action="store_true",
                        help="files are read without a login")
    parser.add_argument("--nfc", type=lambda s: s.split(":", 2),
                        help="HOST:PORT:SHA1 of the fake NFC server")
    parser.add_argument("--user", default="user")
    parser.add_argument("--password", default="pass")
    parser.add_argument("--listen", default="127.0.0.1:0")
    options = parser.parse_args()

    world = World(options, options.work)
    world.switches["folderLogin"] = not options.public_folder
    cert, key, sha1, sha256 = make_certificate(options.work)
    world.thumbprint = sha1
    Handler.world = world
    address, _, port = options.listen.rpartition(":")
    server = Server((address, int(port)), Handler)
    if not options.plain:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(cert, key)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", server.server_address[1], sha1, sha256, flush=True)
    # a test that is killed closes this, too
    while sys.stdin.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
