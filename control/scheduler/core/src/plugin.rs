//! The plugins of the original's default profile, by their names there.

use std::fmt;

/// A plugin, in the order in which the default profile asks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Plugin {
    SchedulingGates,
    PrioritySort,
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeRestrictions,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeZone,
    PodTopologySpread,
    InterPodAffinity,
    DefaultPreemption,
    NodeResourcesBalancedAllocation,
    ImageLocality,
    DefaultBinder,
    /// Not served: pods with resource claims are refused in its name.
    DynamicResources,
    /// Not the profile's: a program that is asked over HTTP.
    Extender,
}

/// All that a profile can name.
pub const ALL: [Plugin; 18] = [
    Plugin::SchedulingGates,
    Plugin::PrioritySort,
    Plugin::NodeUnschedulable,
    Plugin::NodeName,
    Plugin::TaintToleration,
    Plugin::NodeAffinity,
    Plugin::NodePorts,
    Plugin::NodeResourcesFit,
    Plugin::VolumeRestrictions,
    Plugin::NodeVolumeLimits,
    Plugin::VolumeBinding,
    Plugin::VolumeZone,
    Plugin::PodTopologySpread,
    Plugin::InterPodAffinity,
    Plugin::DefaultPreemption,
    Plugin::NodeResourcesBalancedAllocation,
    Plugin::ImageLocality,
    Plugin::DefaultBinder,
];

impl Plugin {
    pub fn name(self) -> &'static str {
        match self {
            Self::SchedulingGates => "SchedulingGates",
            Self::PrioritySort => "PrioritySort",
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::NodeName => "NodeName",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::VolumeRestrictions => "VolumeRestrictions",
            Self::NodeVolumeLimits => "NodeVolumeLimits",
            Self::VolumeBinding => "VolumeBinding",
            Self::VolumeZone => "VolumeZone",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
            Self::DefaultPreemption => "DefaultPreemption",
            Self::NodeResourcesBalancedAllocation => "NodeResourcesBalancedAllocation",
            Self::ImageLocality => "ImageLocality",
            Self::DefaultBinder => "DefaultBinder",
            Self::DynamicResources => "DynamicResources",
            Self::Extender => "Extender",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|plugin| plugin.name() == name)
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of plugins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plugins(u32);

impl Plugins {
    pub const NONE: Self = Self(0);

    pub fn add(&mut self, plugin: Plugin) {
        self.0 |= 1 << plugin as u8;
    }

    pub fn remove(&mut self, plugin: Plugin) {
        self.0 &= !(1 << plugin as u8);
    }

    pub fn has(self, plugin: Plugin) -> bool {
        self.0 & (1 << plugin as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Plugin> {
        ALL.into_iter()
            .chain([Plugin::DynamicResources, Plugin::Extender])
            .filter(move |plugin| self.has(*plugin))
    }
}

impl FromIterator<Plugin> for Plugins {
    fn from_iter<I: IntoIterator<Item = Plugin>>(plugins: I) -> Self {
        let mut found = Self::NONE;
        plugins.into_iter().for_each(|plugin| found.add(plugin));
        found
    }
}
